//! Where the other fakes deviate from AWS's documents, found by running the contract against ministack 1.5.33 and moto 5.2.5.

/// A reason, and what deviates because of it, as `case: what`.
pub(super) type Exceptions = &'static [(&'static str, &'static [&'static str])];

pub(super) const MINISTACK: Exceptions = &[
    (
        "It takes indices of a REMOVE one after the other; AWS those of the list as it was.",
        &["expressions::updates: REMOVE l[0], l[1]"],
    ),
    (
        "It does not check the types of operands.",
        &["expressions::update_errors: SET a = s + :v", "expressions::update_errors: SET l = list_append(l, :v)"],
    ),
    (
        "Its parser takes incomplete, repeated and overlapping expressions.",
        &[
            "expressions::update_errors: SET",
            "expressions::update_errors: SET a = ",
            "expressions::update_errors: SET a = :v,",
            "expressions::update_errors: SET a = :v SET b = :v",
            "expressions::update_errors: SET a = :v, a = :v",
            "expressions::update_errors: SET a = :v REMOVE a",
            "expressions::projections: ",
            "expressions::projections: n,",
        ],
    ),
    (
        "It evaluates operands that AWS refuses when it reads the expression.",
        &[
            "expressions::condition_errors: n = n",
            "expressions::condition_errors: n < :v",
            "expressions::condition_errors: n BETWEEN :a AND :b",
            "expressions::condition_errors: begins_with(s, :v)",
            "expressions::condition_errors: Attribute_Exists(s)",
            "expressions::condition_errors: attribute_type(s, :v)",
        ],
    ),
    (
        "It evaluates key conditions and filters that AWS refuses.",
        &[
            "queries::filters_cost: a filter on the key",
            "queries::refused_queries: pk = :a OR sk = :a",
            "queries::refused_queries: pk = :a AND sk <> :a",
            "queries::refused_queries: pk = :a AND contains(sk, :a)",
            "queries::refused_queries: pk = :a AND NOT sk = :a",
        ],
    ),
    (
        "It forgets a receipt whose message is deleted; with AWS a second delete succeeds.",
        &["messages::send_receive_delete: deleted, also twice"],
    ),
    (
        "It has one error for every receipt that is not good any more.",
        &["order::visibility_of_a_group: the receipt has expired"],
    ),
    (
        "It does not check this parameter.",
        &[
            "messages::refused_messages: a deduplication id",
            "messages::refused_messages: receive 1 within 21",
            "messages::receipts: hide beyond 12 hours",
            "messages::attributes: purge twice",
            "order::refused_fifo_messages: a long group",
            "order::refused_fifo_messages: a space in an id",
        ],
    ),
];

pub(super) const MOTO: Exceptions = &[
    ("It keeps numbers as texts.", &["items::values_are_checked: a number is normalised"]),
    (
        "It counts sizes otherwise, and not those of updates.",
        &["items::sizes_are_limited: put 400 KB", "items::sizes_are_limited: update beyond 400 KB"],
    ),
    (
        "It does not check this when it reads, or not numbers.",
        &[
            "items::keys_are_checked: get with a number as sort key",
            "items::keys_are_checked: get with a long sort key",
            "items::keys_are_checked: get with a long partition key",
            "items::values_are_checked: 39 digits",
            "items::values_are_checked: a large number",
        ],
    ),
    (
        "It fails (500) where a type does not fit; AWS says that the condition does not hold.",
        &["expressions::condition_results: n > :v", "expressions::condition_results: size(n) = :v"],
    ),
    (
        "It does not check the expression, or fails (500) over it.",
        &[
            "expressions::condition_errors: ",
            "expressions::condition_errors: n",
            "expressions::condition_errors: n =",
            "expressions::condition_errors: n = :v AND",
            "expressions::condition_errors: (n = :v",
            "expressions::condition_errors: n == :v",
            "expressions::condition_errors: n = :v extra",
            "expressions::condition_errors: n = n",
            "expressions::condition_errors: n < :v",
            "expressions::condition_errors: n BETWEEN :a AND :b",
            "expressions::condition_errors: begins_with(s, :v)",
            "expressions::condition_errors: size(s)",
            "expressions::condition_errors: Attribute_Exists(s)",
            "expressions::condition_errors: attribute_exists(:v)",
            "expressions::condition_errors: if_not_exists(s, :v) = :v",
            "expressions::condition_errors: attribute_type(s, :v)",
            "expressions::placeholders: n = :v",
            "expressions::placeholders: absent = :missing",
            "expressions::placeholders: #missing = :v",
            "expressions::placeholders: n = :missing",
            "expressions::placeholders: values without an expression",
            "expressions::projections: n,",
            "expressions::projections: m, m.k",
            "expressions::projections: :v",
        ],
    ),
    (
        "It looks whether there is more, which AWS does not at a limit.",
        &[
            "queries::pages: the last page, exactly full",
            "queries::pages: the place need not exist",
            "queries::pages: the last page backwards, exactly full",
            "queries::limits_stop_without_looking: whether there is more is not known",
        ],
    ),
    (
        "It does not check the request, or fails (500) over it.",
        &[
            "queries::limits_stop_without_looking: a limit of nothing",
            "queries::filters_cost: a filter on the key",
            "queries::refused_queries: pk = :a OR sk = :a",
            "queries::refused_queries: pk = :a AND sk <> :a",
            "queries::refused_queries: pk = :a AND sk IN (:a)",
            "queries::refused_queries: pk = :a AND sk = :a AND sk = :a",
            "queries::refused_queries: pk = :a AND NOT sk = :a",
            "queries::refused_queries: pk = :a ",
            "queries::refused_queries: pk = :a AND sk = :b",
            "queries::refused_queries: pk = :a",
            "queries::refused_queries: pk = :a AND sk BETWEEN :c AND :b",
            "queries::refused_queries: a start outside of the range",
            "queries::refused_queries: a start in another partition",
        ],
    ),
    (
        "It does not know the client's tokens.",
        &[
            "transactions::once_per_token: carried out once",
            "transactions::once_per_token: another request with the token",
        ],
    ),
    (
        "It knows neither the scope of a group nor a message that was deleted.",
        &[
            "order::the_same_message_once: a repeat is the message that was taken",
            "order::the_same_message_once: one of each group",
            "order::the_same_message_once: also when it was deleted since",
            "order::the_same_message_once: it does not come again",
        ],
    ),
    (
        "It takes a receipt whose visibility has ended, so that the message is gone.",
        &[
            "order::visibility_of_a_group: the receipt has expired",
            "order::visibility_of_a_group: give back the first again",
            "order::visibility_of_a_group: a hidden message holds its followers",
            "order::visibility_of_a_group: then all in order",
        ],
    ),
    (
        "It does not check this parameter.",
        &[
            "batches::limits: get nothing",
            "batches::limits: write 26",
            "batches::limits: write one twice",
            "transactions::refused_transactions: none",
            "messages::refused_messages: an empty message",
            "messages::refused_messages: a control character",
            "messages::refused_messages: a deduplication id",
            "messages::refused_batches: a batch in part",
            "order::refused_fifo_messages: a long group",
            "order::refused_fifo_messages: a space in an id",
        ],
    ),
];
