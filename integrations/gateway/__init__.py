"""HTTP, WebSocket, the web page, and dispatch to channels."""
