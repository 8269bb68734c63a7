/// What work has cost.
public struct Expenses: Sendable, Hashable, Codable {
    public var costGLM: Double
    /// One entry a contract with a provider.
    public var agreements: [AgreementExpense]

    public init(costGLM: Double, agreements: [AgreementExpense] = []) {
        self.costGLM = costGLM
        self.agreements = agreements
    }

    enum CodingKeys: String, CodingKey {
        case costGLM = "cost_glm"
        case agreements
    }
}

/// A line of the table of costs: what one provider was hired for, did, billed and got.
public struct AgreementExpense: Sendable, Hashable, Codable {
    public var provider: Provider
    public var agreement: String
    public var tasks: Int
    public var seconds: Double
    public var billedGLM: Double
    public var paidGLM: Double
    /// "settled", "accepted", "rejected", …
    public var state: String
    /// Why, where it is not the ordinary end.
    public var reason: String?

    public init(
        provider: Provider, agreement: String, tasks: Int, seconds: Double, billedGLM: Double, paidGLM: Double,
        state: String, reason: String? = nil
    ) {
        self.provider = provider
        self.agreement = agreement
        self.tasks = tasks
        self.seconds = seconds
        self.billedGLM = billedGLM
        self.paidGLM = paidGLM
        self.state = state
        self.reason = reason
    }

    enum CodingKeys: String, CodingKey {
        case provider, agreement, tasks, seconds, state, reason
        case billedGLM = "billed_glm"
        case paidGLM = "paid_glm"
    }
}
