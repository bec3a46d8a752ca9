"""What each foreign client is made to do while its frames are recorded: as many of its calls as it has."""
