"""The allow-list: what a statement may be made of. Everything that is not named here is refused.

Deny-lists of functions leak (catalogues, large objects, functions that take SQL as text), so each dialect
names what it lets through: classes of syntax nodes, functions that sqlglot knows, and functions by name.
Not on the lists on purpose: whatever makes rows or long strings out of nothing (`generate_series`, `repeat`,
`lpad`), reads files or settings, sleeps, or takes SQL, XML or a table name as a string.
"""

from sqlglot import exp


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _classes(names: str) -> frozenset[type[exp.Expr]]:
    return frozenset(getattr(exp, name) for name in _words(names))


NODES = _classes(
    """
    Select From Where Join Group Having Order Ordered Limit Offset Fetch LimitOptions Distinct
    Table TableAlias Alias Identifier Column Star Subquery With CTE Union Intersect Except Values
    Literal Null Boolean Paren Tuple Exists Not Is In Between Like ILike Glob Escape SimilarTo Any All
    EQ NEQ GT GTE LT LTE NullSafeEQ NullSafeNEQ Add Sub Mul Div IntDiv Mod Neg DPipe
    BitwiseAnd BitwiseOr BitwiseXor BitwiseNot BitwiseLeftShift BitwiseRightShift
    Window WindowSpec Filter WithinGroup IgnoreNulls RespectNulls Rollup Cube GroupingSets
    Interval Var DataType DataTypeParam AtTimeZone
    Bracket JSONPath JSONPathKey JSONPathRoot JSONPathSubscript
    """
)

FUNCTIONS = _classes(
    """
    And Or Xor Case If Coalesce Nullif Cast TryCast Collate Exists
    Count CountIf Sum Avg Min Max GroupConcat Greatest Least
    Abs Round Ceil Floor Sign Sqrt Pow Exp Ln Log Trunc Pi Rand
    Length Lower Upper Trim Substring Concat ConcatWs Left Right StrPosition Replace Initcap Reverse
    Chr Unicode Typeof Hex
    RowNumber Rank DenseRank PercentRank CumeDist Ntile Lag Lead FirstValue LastValue NthValue
    CurrentDate CurrentTime CurrentTimestamp Localtimestamp Localtime Extract TimeToStr StrToTime StrToDate
    TimestampTrunc DateTrunc Date Datetime Time TsOrDsToDate TsOrDsToTimestamp UnixToTime UnixSeconds
    Year Month Day JSONExtract JSONExtractScalar
    """
)

# Width and precision make long strings; SQLite bounds them (SQLITE_LIMIT_LENGTH), PostgreSQL does not.
SQLITE_FUNCTIONS = _classes("Format")

POSTGRES_FUNCTIONS = _classes(
    """
    PercentileCont PercentileDisc Mode Stddev StddevPop StddevSamp Variance VariancePop
    Corr CovarPop CovarSamp LogicalAnd LogicalOr ArrayAgg Array ArraySize ArrayToString
    SplitPart Overlay WidthBucket Grouping RegexpLike RegexpILike MD5 Cbrt Degrees Radians Translate DateBin
    """
)

NAMES = {
    "sqlite": _words(
        """
        abs avg char coalesce count date datetime format glob group_concat hex ifnull iif instr
        json_array_length json_extract json_type julianday length like lower ltrim max min nullif printf
        quote replace round rtrim sign strftime string_agg substr substring
        sum time timediff total trim typeof
        unicode unixepoch upper concat concat_ws
        acos acosh asin asinh atan atan2 atanh ceil ceiling cos cosh degrees exp floor ln log log10 log2
        mod pi pow power radians sin sinh sqrt tan tanh trunc
        """
    ),
    "postgres": _words(
        """
        age date_part make_date make_time make_timestamp make_interval to_timestamp to_number isfinite
        justify_days justify_hours justify_interval clock_timestamp statement_timestamp transaction_timestamp
        acos asin atan atan2 cos sin tan cot degrees radians div gcd lcm log10 factorial scale trim_scale
        bool_and bool_or every bit_and bit_or string_agg array_agg var_pop var_samp
        regr_slope regr_intercept regr_r2 regr_count num_nulls num_nonnulls
        btrim ltrim rtrim strpos starts_with ascii octet_length bit_length
        array_length array_lower array_position array_upper cardinality
        json_array_length json_extract_path_text json_typeof
        jsonb_array_length jsonb_extract_path_text jsonb_typeof
        """
    ),
}

# What the SQLite engine itself sees: names after rendering, with what its operators and windows call.
SQLITE_ENGINE_FUNCTIONS = NAMES["sqlite"] | _words(
    """
    -> ->> current_date current_time current_timestamp random
    row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value
    """
)

TYPES = frozenset(
    getattr(exp.DType, name)
    for name in _words(
        """
        BIGINT INT SMALLINT TINYINT DECIMAL DOUBLE FLOAT BOOLEAN BIT TEXT VARCHAR CHAR NCHAR NVARCHAR BLOB
        VARBINARY DATE DATETIME TIME TIMETZ TIMESTAMP TIMESTAMPTZ INTERVAL JSON JSONB UUID ARRAY
        """
    )
)

_SET_OPERATION = _words("this expression with_ distinct order limit offset")

# Arguments of a node that may be set; a hint, a lock, a sample or an INTO is an argument too.
ARGUMENTS: dict[type[exp.Expr], frozenset[str]] = {
    exp.Select: _words(
        "with_ expressions distinct from_ joins where group having order limit offset windows"
    ),
    exp.Table: _words("this db alias joins"),
    exp.Subquery: _words("this alias joins with_ order limit offset"),
    exp.Union: _SET_OPERATION,
    exp.Intersect: _SET_OPERATION,
    exp.Except: _SET_OPERATION,
    exp.CTE: _words("this alias scalar materialized"),
    exp.With: _words("expressions"),
    exp.Join: _words("this on side kind using method"),
    exp.Values: _words("expressions alias"),
}


def functions(dialect: str) -> frozenset[type[exp.Expr]]:
    """The known functions that a statement of that dialect may call."""
    return FUNCTIONS | (POSTGRES_FUNCTIONS if dialect == "postgres" else SQLITE_FUNCTIONS)
