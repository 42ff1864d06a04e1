"use strict";
// Questions go to the server; a refusal is the one line that it gave.

page.send = async (name, body) => {
  const how = body === undefined ? {} : { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  let answer;
  try {
    answer = await fetch(`/api/${name}`, how);
  } catch {
    throw new Error("the server does not answer; start it again in its terminal");
  }
  const text = await answer.text();
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error(text.trim().split("\n")[0]);
  }
  if (!answer.ok) throw new Error(value.error);
  return value;
};
