"""The web pages: server-rendered, of what the public endpoints answer; their maps are drawn by Aladin Lite."""
