#!/bin/sh
# Packages shall not start services while an image is built.
exit 101
