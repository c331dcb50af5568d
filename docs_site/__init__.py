"""What the documentation site has besides docs/: pages made from the code, and redirected links.

`mkdocs_hooks.py` in the root calls it. It is not in this folder, because mkdocs puts the folder of
its hooks first on the import path, and the modules here would hide others of the same name.
"""
