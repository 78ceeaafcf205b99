# python:3.11-slim keeps its interpreter and packages in /usr/local. Debian's Python behaves like that as a virtual
# environment at /usr/local: the same paths, the same `pip install --prefix`, and no externally managed environment.
python3 -m venv --system-site-packages /usr/local
rm -f /usr/local/bin/activate* /usr/local/bin/Activate.ps1 /usr/local/lib64 /usr/local/.gitignore
ln -sf /usr/bin/pydoc3 /usr/local/bin/pydoc
ln -sf python3.11 /usr/local/bin/python
ln -sf python3.11 /usr/local/bin/python3
ln -sf /usr/bin/python3.11 /usr/local/bin/python3.11
python -c 'import sys; assert sys.prefix == "/usr/local" and sys.version_info[:2] == (3, 11), sys.version'
pip --version
