"""Assembles the file system of an image, in a build stage: `python3 -m deploy.rootfs`.

An image has what Headgate runs and nothing else: the interpreter, the part of the standard library that is used, the
shared libraries that these name, the installed distributions. No shell, no package manager, no compiler. Two layers:

- `runtime OUT`: Python, shared libraries, certificates of authorities, users. The same in all images.
- `environment ENV OUT REQUIREMENT`: the virtual environment ENV, and the SBOM.

Only the standard library is used here, since this runs in the bare base image. The result depends on the base, the
sources and SOURCE_DATE_EPOCH: no clock, and no order of a folder or a set.
"""
