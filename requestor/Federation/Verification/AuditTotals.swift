import Fleets

/// What was checked in a run: part of `summary.json` and of the table at its end.
public struct AuditTotals: Codable, Sendable, Equatable {
    public var policy: AuditPolicy
    /// Rounds with at least one answer that was recomputed.
    public var rounds: Int
    /// Good answers that came, and those of them that were recomputed at home.
    public var answers: Int
    public var audited: Int
    /// Recomputed twice, and twice something else came out.
    public var mismatches: Int
    /// Refusals of work that others, or home, could do.
    public var falseRefusals: Int
    /// Rounds that were done again, as wrong values were in their averages.
    public var roundsRedone: Int
    /// Of the recomputing.
    public var homeSeconds: Double
    public var providers: [ProviderAudits]

    /// The same of one provider.
    public struct ProviderAudits: Codable, Sendable, Equatable {
        public var provider: Provider
        public var answers: Int
        public var audited: Int
        public var mismatches: Int
        public var falseRefusals: Int

        enum CodingKeys: String, CodingKey {
            case provider, answers, audited, mismatches
            case falseRefusals = "false_refusals"
        }
    }

    public init(policy: AuditPolicy) {
        self.policy = policy
        rounds = 0
        answers = 0
        audited = 0
        mismatches = 0
        falseRefusals = 0
        roundsRedone = 0
        homeSeconds = 0
        providers = []
    }

    enum CodingKeys: String, CodingKey {
        case policy, rounds, answers, audited, mismatches, providers
        case falseRefusals = "false_refusals"
        case roundsRedone = "rounds_redone"
        case homeSeconds = "home_seconds"
    }

    /// Where the provider stands in ``providers``; it is added where it does not.
    mutating func place(of provider: Provider) -> Int {
        if let place = providers.firstIndex(where: { $0.provider.id == provider.id }) { return place }
        providers.append(ProviderAudits(provider: provider, answers: 0, audited: 0, mismatches: 0, falseRefusals: 0))
        return providers.count - 1
    }
}
