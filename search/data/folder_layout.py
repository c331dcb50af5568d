"""The layout of a data set's folders."""

from typing import Literal, TypeAlias

# "classes": every folder is a class, whatever its name; "roles": train/, val/ and test/ with class
# folders inside; "auto": decided by the folder names.
Layout: TypeAlias = Literal["auto", "classes", "roles"]
