"""Why a loop is slower than the fused module: a ladder of changes, floors below it, operations, a model of sizes."""
