"""Archives over HTTP, read-only: pages for people, WebDAV for programs.

A request goes `server` → `gate` (who may come in, and under which headers) → `app` (which handler) → a
handler (`pages`, `timepages`, `downloads`, `dav`), which reads archives through `library`. Handlers are plain
functions in a thread of a pool; `pouring` carries long bodies from there to the client.
"""
