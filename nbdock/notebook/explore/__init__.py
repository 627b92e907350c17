"""What is explored with the mouse and the keyboard: `explore`, and its kin.

Each is a class with a view in the browser and a static twin (see `frontend`), and says in Python
what it shows.
"""
