"""What the processes of the stage generate say to each other: the task's files and the messages."""
