"""What people look at: the fork tree, the diff, the state at an event, an event in a line."""
