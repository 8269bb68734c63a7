/// How answers are checked beyond what can be seen of them.
public struct VerificationSettings: SettingGroup {
    /// Which answers are recomputed at home; `nil`: `auto` where machines are rented, else `off`.
    public var audit: AuditPolicy?

    public init() {}

    static let settings: [Setting<Self>] = [
        Setting("audit", \Self.audit, .free, AuditPolicy.expectation)
    ]

    func rules() -> [ConfigurationProblem] { [] }
}

extension RunConfiguration {
    /// Machines of one's own are trusted, those of strangers looked at.
    public var auditPolicy: AuditPolicy { verification.audit ?? (machines.fleet == .golem ? .auto : .off) }
}
