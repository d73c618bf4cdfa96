"""The paper's tables and figures, measured again (Belharbi et al., WACV 2022, supplement)."""
