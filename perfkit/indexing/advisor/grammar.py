"""PostgreSQL's own parser, pglast: loaded here alone, so that who lacks it is told what to install."""

from __future__ import annotations

from perfkit.errors import AdvisorError

try:
    from pglast import ast, parse_sql
    from pglast.enums import (
        A_Expr_Kind,
        BoolExprType,
        BoolTestType,
        CoercionForm,
        JoinType,
        NullTestType,
        SetOperation,
        SortByDir,
        SortByNulls,
        SubLinkType,
    )
    from pglast.keywords import COL_NAME_KEYWORDS, RESERVED_KEYWORDS, TYPE_FUNC_NAME_KEYWORDS
    from pglast.parser import ParseError
    from pglast.stream import RawStream
except ImportError as error:
    raise AdvisorError("it needs pglast, pip install 'django-perfkit[advisor]'.") from error

__all__ = [
    "COL_NAME_KEYWORDS",
    "RESERVED_KEYWORDS",
    "TYPE_FUNC_NAME_KEYWORDS",
    "A_Expr_Kind",
    "BoolExprType",
    "BoolTestType",
    "CoercionForm",
    "JoinType",
    "NullTestType",
    "ParseError",
    "RawStream",
    "SetOperation",
    "SortByDir",
    "SortByNulls",
    "SubLinkType",
    "ast",
    "parse_sql",
]
