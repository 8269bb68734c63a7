/// One line of a ledger: something that matters for money, written before it is acted upon.
public enum LedgerEntry: Sendable, Equatable {
    case opened(run: String, budget: Amount, platform: String, at: Timestamp)
    /// Written before an allocation is asked for: one whose answer is lost is found by amount and time-out.
    case allocationAsked(Amount, timeout: Timestamp)
    case allocation(AllocationID, Amount)
    case allocationReleased(AllocationID)
    /// Written before the agreement is sent to the provider.
    case agreement(AgreementID, Contract, at: Timestamp)
    case agreementEnded(AgreementID, at: Timestamp)
    /// It never came about: the provider refused it, or it was taken back before the provider answered.
    case agreementRefused(AgreementID, at: Timestamp)
    /// Written before an activity is asked for: the provider may start it, and bill it, though its answer is lost.
    case activityAsked(AgreementID, at: Timestamp)
    /// The activity that was asked for `at` that time did not start.
    case activityNotStarted(AgreementID, at: Timestamp)
    /// `at` is when it was asked for: our clock starts before the provider's.
    case activity(ActivityID, AgreementID, at: Timestamp)
    case activityEnded(ActivityID, AgreementID, at: Timestamp)
    case unusable(AgreementID, reason: String)
    /// Written before the acceptance is sent.
    case acceptingNote(DebitNoteID, ActivityID, AgreementID, Amount)
    case acceptingInvoice(InvoiceID, AgreementID, Amount)
    /// The daemon has taken the acceptance.
    case accepted(BillID)
    /// The daemon has refused the acceptance for good.
    case acceptanceRefused(BillID)
    /// An invoice that is not paid, with what it asks for.
    case rejectedInvoice(InvoiceID, AgreementID, Amount, reason: String)
    case settled(InvoiceID)
    case closed(at: Timestamp)

    public var json: JSON {
        func object(_ kind: String, _ fields: [String: JSON]) -> JSON {
            .object(fields.merging(["entry": .string(kind)]) { old, _ in old })
        }
        switch self {
        case .opened(let run, let budget, let platform, let at):
            return object(
                "opened",
                ["run": JSON(run), "budget": JSON(budget), "platform": JSON(platform), "at": JSON(at), "version": 2])
        case .allocationAsked(let amount, let timeout):
            return object("allocationAsked", ["amount": JSON(amount), "timeout": JSON(timeout)])
        case .allocation(let id, let amount):
            return object("allocation", ["allocation": JSON(id), "amount": JSON(amount)])
        case .allocationReleased(let id): return object("allocationReleased", ["allocation": JSON(id)])
        case .agreement(let id, let contract, let at):
            return object("agreement", ["agreement": JSON(id), "contract": contract.json, "at": JSON(at)])
        case .agreementEnded(let id, let at):
            return object("agreementEnded", ["agreement": JSON(id), "at": JSON(at)])
        case .agreementRefused(let id, let at):
            return object("agreementRefused", ["agreement": JSON(id), "at": JSON(at)])
        case .activityAsked(let agreement, let at):
            return object("activityAsked", ["agreement": JSON(agreement), "at": JSON(at)])
        case .activityNotStarted(let agreement, let at):
            return object("activityNotStarted", ["agreement": JSON(agreement), "at": JSON(at)])
        case .activity(let id, let agreement, let at):
            return object("activity", ["activity": JSON(id), "agreement": JSON(agreement), "at": JSON(at)])
        case .activityEnded(let id, let agreement, let at):
            return object("activityEnded", ["activity": JSON(id), "agreement": JSON(agreement), "at": JSON(at)])
        case .unusable(let id, let reason):
            return object("unusable", ["agreement": JSON(id), "reason": JSON(reason)])
        case .acceptingNote(let id, let activity, let agreement, let amount):
            return object(
                "acceptingNote",
                ["note": JSON(id), "activity": JSON(activity), "agreement": JSON(agreement), "amount": JSON(amount)])
        case .acceptingInvoice(let id, let agreement, let amount):
            return object(
                "acceptingInvoice", ["invoice": JSON(id), "agreement": JSON(agreement), "amount": JSON(amount)])
        case .accepted(let id): return object("accepted", ["document": JSON(id)])
        case .acceptanceRefused(let id): return object("acceptanceRefused", ["document": JSON(id)])
        case .rejectedInvoice(let id, let agreement, let amount, let reason):
            return object(
                "rejectedInvoice",
                ["invoice": JSON(id), "agreement": JSON(agreement), "amount": JSON(amount), "reason": JSON(reason)])
        case .settled(let id): return object("settled", ["invoice": JSON(id)])
        case .closed(let at): return object("closed", ["at": JSON(at)])
        }
    }

    /// Whether it is the first of a run, or of one that goes on.
    package var isOpening: Bool { if case .opened = self { true } else { false } }

    /// `nil` for a line that is torn or of another version.
    public init?(_ json: JSON) {
        func read<Subject>(_ key: String) -> Identifier<Subject>? { json[key]?.id() }
        func text(_ key: String) -> String? { json[key]?.line }
        func amount(_ key: String) -> Amount? { json[key]?.amount }
        let at = json["at"]?.timestamp
        switch text("entry") {
        case "opened":
            guard let run = text("run"), let budget = amount("budget"), let platform = text("platform"), let at
            else { return nil }
            self = .opened(run: run, budget: budget, platform: platform, at: at)
        case "allocationAsked":
            guard let amount = amount("amount"), let timeout = json["timeout"]?.timestamp else { return nil }
            self = .allocationAsked(amount, timeout: timeout)
        case "allocation":
            guard let id: AllocationID = read("allocation"), let amount = amount("amount") else { return nil }
            self = .allocation(id, amount)
        case "allocationReleased":
            guard let id: AllocationID = read("allocation") else { return nil }
            self = .allocationReleased(id)
        case "agreement":
            guard let id: AgreementID = read("agreement"), let contract = json["contract"].flatMap({ Contract($0) }),
                let at
            else { return nil }
            self = .agreement(id, contract, at: at)
        case "agreementEnded":
            guard let id: AgreementID = read("agreement"), let at else { return nil }
            self = .agreementEnded(id, at: at)
        case "agreementRefused":
            guard let id: AgreementID = read("agreement"), let at else { return nil }
            self = .agreementRefused(id, at: at)
        case "activityAsked", "activityNotStarted":
            guard let agreement: AgreementID = read("agreement"), let at else { return nil }
            self =
                text("entry") == "activityAsked"
                ? .activityAsked(agreement, at: at) : .activityNotStarted(agreement, at: at)
        case "activity":
            guard let id: ActivityID = read("activity"), let agreement: AgreementID = read("agreement"), let at else {
                return nil
            }
            self = .activity(id, agreement, at: at)
        case "activityEnded":
            guard let id: ActivityID = read("activity"), let agreement: AgreementID = read("agreement"), let at else {
                return nil
            }
            self = .activityEnded(id, agreement, at: at)
        case "unusable":
            guard let id: AgreementID = read("agreement"), let reason = text("reason") else { return nil }
            self = .unusable(id, reason: reason)
        case "acceptingNote":
            guard let id: DebitNoteID = read("note"), let activity: ActivityID = read("activity"),
                let agreement: AgreementID = read("agreement"),
                let amount = amount("amount")
            else { return nil }
            self = .acceptingNote(id, activity, agreement, amount)
        case "acceptingInvoice":
            guard let id: InvoiceID = read("invoice"), let agreement: AgreementID = read("agreement"),
                let amount = amount("amount")
            else { return nil }
            self = .acceptingInvoice(id, agreement, amount)
        case "accepted":
            guard let id: BillID = read("document") else { return nil }
            self = .accepted(id)
        case "acceptanceRefused":
            guard let id: BillID = read("document") else { return nil }
            self = .acceptanceRefused(id)
        case "rejectedInvoice":
            guard let id: InvoiceID = read("invoice"), let agreement: AgreementID = read("agreement"),
                let amount = amount("amount"),
                let reason = text("reason")
            else { return nil }
            self = .rejectedInvoice(id, agreement, amount, reason: reason)
        case "settled":
            guard let id: InvoiceID = read("invoice") else { return nil }
            self = .settled(id)
        case "closed":
            guard let at else { return nil }
            self = .closed(at: at)
        default:
            return nil
        }
    }
}

/// What an agreement says about money.
public struct Contract: Sendable, Equatable {
    public var providerID: NodeID
    public var providerName: String
    public var price: LinearPrice
    /// The most processor seconds that can be used in a second.
    public var threads: Int

    public init(providerID: NodeID, providerName: String, price: LinearPrice, threads: Int) {
        self.providerID = providerID
        self.providerName = providerName
        self.price = price
        self.threads = threads
    }

    var json: JSON {
        [
            "provider": JSON(providerID), "name": JSON(providerName), "threads": JSON(threads),
            "counters": JSON(price.counters), "coefficients": .array(price.coefficients.map { JSON($0) }),
            "start": JSON(price.start),
        ]
    }

    init?(_ json: JSON) {
        guard let id: NodeID = json["provider"]?.id(), let counters = json["counters"]?.strings,
            let coefficients = json["coefficients"]?.doubles, counters.count == coefficients.count,
            let start = json["start"]?.double, let threads = json["threads"]?.int
        else { return nil }
        self.init(
            providerID: id, providerName: json["name"]?.line ?? "",
            price: LinearPrice(counters: counters, coefficients: coefficients, start: start), threads: threads)
    }
}

extension JSON {
    init(_ amount: Amount) { self = .string(amount.description) }
    init(_ time: Timestamp) { self = .string(time.description) }
}
