"""Continuous valence and arousal, frame by frame, from video, audio and speech."""

__version__ = "0.1.0"
