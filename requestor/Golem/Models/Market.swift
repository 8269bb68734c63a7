/// One offer, as a proposal of a provider.
public struct Proposal: Sendable, Equatable {
    /// `initial`: an offer that matches; `draft`: a provider's answer to our counter-proposal, from which an agreement can be
    /// made.
    public enum State: String, Sendable {
        case initial = "Initial"
        case draft = "Draft"
        case rejected, accepted, expired
    }

    /// The proposal's own.
    public var id: ProposalID
    /// The provider's node.
    public var issuerID: NodeID
    /// Where the negotiation stands.
    public var state: State
    /// What is offered.
    public var offer: Offer
    /// What the provider demands of a demand, as text.
    public var constraints: String
    /// When it was made.
    public var timestamp: Timestamp?
    /// Our own proposal that this one answers.
    public var previousID: ProposalID?

    package init(_ json: JSON) throws {
        let fields = try Fields(json, "proposal")
        id = try fields.id("proposalId")
        issuerID = try fields.id("issuerId")
        let name = try fields.string("state")
        guard let state = State(rawValue: name) ?? State(rawValue: name.lowercased()) else {
            throw fields.bad("state", "a known state")
        }
        self.state = state
        offer = Offer(properties: fields["properties"]?.object ?? [:])
        constraints = fields["constraints"]?.line ?? ""
        timestamp = fields["timestamp"]?.timestamp
        previousID = fields.optionalID("prevProposalId")
    }

    package init(
        id: ProposalID, issuerID: NodeID, state: State, offer: Offer, constraints: String = "()",
        previousID: ProposalID? = nil
    ) {
        self.id = id
        self.issuerID = issuerID
        self.state = state
        self.offer = offer
        self.constraints = constraints
        self.previousID = previousID
    }
}

/// Something that happened to a demand. Each event is delivered once.
public enum DemandEvent: Sendable, Equatable {
    case proposal(Proposal)
    /// A provider turned down the proposal of ours with this id.
    case rejected(ProposalID, reason: String, isFinal: Bool)
    case other(kind: String)

    package init(_ json: JSON) throws {
        let fields = try Fields(json, "demand event")
        let kind = try fields.string("eventType")
        switch kind {
        case "ProposalEvent":
            self = .proposal(try Proposal(fields["proposal"] ?? .null))
        case "ProposalRejectedEvent":
            let reason = fields["reason"]
            self = .rejected(
                try fields.id("proposalId"),
                reason: reason?["message"]?.line ?? reason?.line ?? "no reason given",
                isFinal: reason?["golem.proposal.rejection.is-final"]?.bool ?? false)
        default:
            self = .other(kind: kind)
        }
    }
}

/// Properties and constraints of a demand, also as the body of a counter-proposal.
public struct Demand: Sendable, Equatable {
    /// What providers are told, by the names of ``PropertyName`` and others.
    public var properties: [String: JSON]
    /// What their offers must say.
    public var constraints: Constraint

    /// Neither is checked here: a constraint that is malformed matches nothing, and the daemon does not say so.
    public init(properties: [String: JSON], constraints: Constraint) {
        self.properties = properties
        self.constraints = constraints
    }

    var body: JSON {
        ["properties": .object(properties), "constraints": .string(constraints.text)]
    }
}

/// A contract with a provider.
public struct Agreement: Sendable, Equatable {
    /// Extensible, as the daemon may grow states.
    public struct State: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
        public let rawValue: String
        public init(rawValue: String) { self.rawValue = rawValue }
        public var description: String { rawValue }
        public static let proposal = State(rawValue: "Proposal")
        public static let pending = State(rawValue: "Pending")
        public static let approved = State(rawValue: "Approved")
        public static let rejected = State(rawValue: "Rejected")
        public static let cancelled = State(rawValue: "Cancelled")
        public static let expired = State(rawValue: "Expired")
        public static let terminated = State(rawValue: "Terminated")
    }

    /// The agreement's own.
    public var id: AgreementID
    /// Where it stands.
    public var state: State
    /// The other side.
    public var providerID: NodeID
    /// What the provider promised, its price too.
    public var offer: Offer
    /// What we promised.
    public var demandProperties: [String: JSON]
    /// Until when it could be approved.
    public var validTo: Timestamp?
    /// When the provider approved it.
    public var approvedDate: Timestamp?
    /// The tag under which its events are told.
    public var appSession: String?

    package init(_ json: JSON) throws {
        let fields = try Fields(json, "agreement")
        id = try fields.id("agreementId")
        state = State(rawValue: try fields.string("state"))
        guard let provider: NodeID = fields["offer"]?["providerId"]?.id() else {
            throw fields.bad("offer.providerId", "the id of a node")
        }
        providerID = provider
        offer = Offer(properties: fields["offer"]?["properties"]?.object ?? [:])
        demandProperties = fields["demand"]?["properties"]?.object ?? [:]
        validTo = fields["validTo"]?.timestamp
        approvedDate = fields["approvedDate"]?.timestamp
        appSession = fields["appSessionId"]?.line
    }
}

/// Something that happened to an agreement of ours.
public struct AgreementEvent: Sendable, Equatable {
    /// What became of it.
    public enum Kind: Sendable, Equatable {
        case approved, rejected, cancelled, terminated
        case other(String)
    }

    /// Whose it is.
    public var agreementID: AgreementID
    /// What happened.
    public var kind: Kind
    /// When, by the daemon's clock: what is asked for next is what came after it.
    public var date: Timestamp
    /// `Provider` or `Requestor`, of a termination.
    public var terminator: String?
    /// Why, as the other side says it; empty where it says nothing.
    public var reason: String
    /// `golem.provider.code`, e.g. `DebitNotesDeadline`.
    public var providerCode: String?

    package init(_ json: JSON) throws {
        let fields = try Fields(json, "agreement event")
        agreementID = try fields.id("agreementId")
        date = try fields.timestamp("eventDate")
        let name = try fields.string("eventType")
        kind =
            switch name {
            case "AgreementApprovedEvent": .approved
            case "AgreementRejectedEvent": .rejected
            case "AgreementCancelledEvent": .cancelled
            case "AgreementTerminatedEvent": .terminated
            default: .other(name)
            }
        terminator = fields["terminator"]?.line
        reason = fields["reason"]?["message"]?.line ?? fields["reason"]?.line ?? ""
        providerCode = fields["reason"]?["golem.provider.code"]?.line
    }
}

/// The answer to waiting for an agreement.
public enum AgreementAnswer: Sendable, Equatable {
    case approved
    /// Not yet: wait again, and look at the state once `validTo` is over.
    case pending
    /// `Rejected`, `Cancelled`, `Expired` or `Terminated`.
    case refused(String)
}

/// An offer found by a scan, without negotiation.
public struct ScannedOffer: Sendable, Equatable {
    /// The offer's own.
    public var id: OfferID?
    /// Whose it is.
    public var providerID: NodeID
    /// What is offered.
    public var offer: Offer
    /// When it was published: of two offers of a node, the later may have replaced the other.
    public var timestamp: Timestamp?

    package init(_ json: JSON) throws {
        let fields = try Fields(json, "scanned offer")
        id = fields.optionalID("offerId") ?? fields.optionalID("id")
        providerID = try fields.optionalID("providerId") ?? fields.id("nodeId")
        offer = Offer(properties: fields["properties"]?.object ?? [:])
        timestamp = fields["timestamp"]?.timestamp
    }
}
