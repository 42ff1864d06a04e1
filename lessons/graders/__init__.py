"""The checks of the exercises: `lesson_N.name(answer)` raises AssertionError with a hint if the answer is wrong."""
