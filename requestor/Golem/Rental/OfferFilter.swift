/// Which offers may be taken, beside those that prices and sizes rule out.
///
/// ```swift
/// plan.filters = [.providers([trusted]), .countries(["DE", "PL"]), .custom("not at night") { _ in isDay() }]
/// ```
public struct OfferFilter: Sendable {
    /// Why an offer is not taken; `nil` if it may be.
    public let objection: @Sendable (Candidate) -> String?

    /// `objection` says why an offer is turned down; `nil` if it may be taken.
    public init(_ objection: @Sendable @escaping (Candidate) -> String?) {
        self.objection = objection
    }

    /// Only these nodes.
    public static func providers(_ ids: Set<NodeID>) -> OfferFilter {
        OfferFilter { ids.contains($0.providerID) ? nil : "its node is not among those that are wanted" }
    }

    /// None of these nodes.
    public static func withoutProviders(_ ids: Set<NodeID>) -> OfferFilter {
        OfferFilter { ids.contains($0.providerID) ? "its node is not wanted" : nil }
    }

    /// Only nodes that call themselves so. Anybody may call a node anything: where it matters, use ``providers(_:)``.
    public static func names(_ names: Set<String>) -> OfferFilter {
        OfferFilter { names.contains($0.providerName) ? nil : "its name is not among those that are wanted" }
    }

    /// No nodes that call themselves so.
    public static func withoutNames(_ names: Set<String>) -> OfferFilter {
        OfferFilter { names.contains($0.providerName) ? "its name is not wanted" : nil }
    }

    /// Only nodes that say they are in these countries (two letters, ISO 3166-1). One that says nothing is not taken.
    public static func countries(_ codes: Set<String>) -> OfferFilter {
        let wanted = Set(codes.map { $0.uppercased() })
        return OfferFilter { candidate in
            guard let code = candidate.offer[PropertyName.country]?.line else { return "it does not say where it is" }
            return wanted.contains(code.uppercased()) ? nil : "it is in \(code)"
        }
    }

    /// What a closure says; `name` is for people who ask why an offer was not taken.
    public static func custom(_ name: String, _ accepts: @Sendable @escaping (Candidate) -> Bool) -> OfferFilter {
        OfferFilter { accepts($0) ? nil : "it was turned down by the filter '\(name)'" }
    }
}

extension [OfferFilter] {
    /// The first objection.
    func objection(to candidate: Candidate) -> String? {
        for filter in self {
            if let objection = filter.objection(candidate) { return objection }
        }
        return nil
    }
}
