"""What waits: messages for a session, its way to the disk, its subscribers, its replies."""
