/* A room without files yet still is a library. */
typedef int orch_empty_translation_unit;
