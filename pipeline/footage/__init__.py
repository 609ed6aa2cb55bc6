"""What a video file is: its stream, its time line, the length of its picture, and the seconds that are lost."""
