"""What the folders of a data set are."""

from typing import Literal, TypeAlias

# "classes": every folder is a class, whatever it is called; "roles": train/, val/ and test/ with
# the classes inside; "auto" tells them apart by their names.
Layout: TypeAlias = Literal["auto", "classes", "roles"]
