"""One file or folder per IM network, behind one small protocol."""
