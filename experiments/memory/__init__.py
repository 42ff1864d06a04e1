"""Would a model train on machines that need not be there?"""
