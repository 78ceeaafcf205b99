module github.com/seaway-deploy/seaway/scripts/dockerignore

go 1.24

require github.com/moby/patternmatcher v0.6.1
