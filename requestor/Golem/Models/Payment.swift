/// Whom an app-key stands for (`GET /me`).
public struct Identity: Sendable, Equatable {
    /// The node.
    public var nodeID: NodeID
    /// As the app-key is called.
    public var name: String
    /// What the key may do, e.g. `manager`.
    public var role: String?

    package init(_ json: JSON) throws {
        let fields = try Fields(json, "identity")
        nodeID = try fields.id("identity")
        name = fields["name"]?.line ?? ""
        role = fields["role"]?.line
    }
}

/// The daemon's version (`GET /version/get`).
public struct DaemonVersion: Sendable, Equatable {
    /// The release that runs, e.g. `0.17.6`.
    public var current: String
    /// A newer release that the daemon has heard of.
    public var pending: String?

    package init(_ json: JSON) throws {
        let fields = try Fields(json, "version")
        guard let version = fields["current"]?["version"]?.line else {
            throw fields.bad("current.version", "a string")
        }
        current = version
        pending = fields["pending"]?["version"]?.line
    }
}

/// Funds set aside for a run. Open allocations survive a crash of the requestor; the time-out frees them.
public struct Allocation: Sendable, Equatable {
    /// The allocation's own.
    public var id: AllocationID
    /// The account, as on the chain.
    public var address: String
    /// E.g. `erc20-hoodi-tglm`.
    public var paymentPlatform: String
    /// All that was set aside.
    public var total: Amount
    /// What acceptances took of it.
    public var spent: Amount
    /// What may still be accepted.
    public var remaining: Amount
    /// When the rest becomes free by itself.
    public var timeout: Timestamp?
    /// When it was made, by the daemon's clock.
    public var made: Timestamp?

    package init(_ json: JSON) throws {
        let fields = try Fields(json, "allocation")
        id = try fields.id("allocationId")
        address = fields["address"]?.line ?? ""
        paymentPlatform = fields["paymentPlatform"]?.line ?? ""
        total = try fields.amount("totalAmount")
        spent = fields["spentAmount"]?.amount ?? .zero
        remaining = fields["remainingAmount"]?.amount ?? total - spent
        timeout = fields["timeout"]?.timestamp
        made = (fields["createdTs"] ?? fields["timestamp"])?.timestamp
    }
}

/// What a demand must say so that providers can be paid from given allocations.
public struct Decorations: Sendable, Equatable {
    /// What the demand must say.
    public var properties: [String: JSON]
    /// Constraint texts such as `(golem.com.payment.protocol.version>1)`.
    public var constraints: [String]

    package init(_ json: JSON) throws {
        let fields = try Fields(json, "demand decorations")
        properties = [:]
        for item in try (fields["properties"] ?? .array([])).list("properties of the decorations") {
            guard let key = item["key"]?.line, let value = item["value"] else {
                throw fields.bad("properties", "a list of keys and values")
            }
            properties[key] = value
        }
        constraints = fields["constraints"]?.strings ?? []
    }
}

/// One way of paying that the daemon is set up for.
public struct PaymentAccount: Sendable, Equatable {
    /// E.g. `erc20-hoodi-tglm`.
    public var platform: String
    /// The account, as on the chain.
    public var address: String
    /// E.g. `erc20`.
    public var driver: String
    /// E.g. `hoodi`.
    public var network: String
    /// E.g. `tGLM`.
    public var token: String
    /// Whether one can pay from it.
    public var canSend: Bool
    /// Whether one can be paid to it.
    public var canReceive: Bool

    package init(_ json: JSON) throws {
        let fields = try Fields(json, "payment account")
        platform = try fields.string("platform")
        address = fields["address"]?.line ?? ""
        driver = fields["driver"]?.line ?? ""
        network = fields["network"]?.line ?? ""
        token = fields["token"]?.line ?? ""
        canSend = fields["send"]?.bool ?? false
        canReceive = fields["receive"]?.bool ?? false
    }
}

/// Status of a debit note or invoice. Extensible.
public struct DocumentStatus: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public var description: String { rawValue }
    public static let received = DocumentStatus(rawValue: "RECEIVED")
    public static let accepted = DocumentStatus(rawValue: "ACCEPTED")
    public static let rejected = DocumentStatus(rawValue: "REJECTED")
    public static let failed = DocumentStatus(rawValue: "FAILED")
    public static let settled = DocumentStatus(rawValue: "SETTLED")
    public static let cancelled = DocumentStatus(rawValue: "CANCELLED")
}

/// A provider's running bill for one activity. The amount is cumulative.
public struct DebitNote: Sendable, Equatable {
    /// The note's own.
    public var id: DebitNoteID
    public var agreementID: AgreementID
    /// The activity; there is a running bill for each.
    public var activityID: ActivityID
    /// Who bills.
    public var issuerID: NodeID?
    /// How it wants to be paid: to be compared with what was agreed.
    public var paymentPlatform: String
    /// ``Amount/largest`` for what nobody can pay.
    public var totalAmountDue: Amount
    /// The amount as the bill has it.
    package var asked: String
    /// What the provider says was used, in the order of the offer's usage vector.
    public var usage: [Double]?
    /// What became of it.
    public var status: DocumentStatus
    /// When it was made.
    public var timestamp: Timestamp?
    /// Present: must be paid by then, not just accepted.
    public var paymentDueDate: Timestamp?

    package init(_ json: JSON) throws {
        let fields = try Fields(json, "debit note")
        id = try fields.id("debitNoteId")
        agreementID = try fields.id("agreementId")
        activityID = try fields.id("activityId")
        issuerID = fields.optionalID("issuerId")
        paymentPlatform = fields["paymentPlatform"]?.line ?? ""
        (totalAmountDue, asked) = fields.billed("totalAmountDue")
        usage = fields["usageCounterVector"]?.doubles
        status = DocumentStatus(rawValue: try fields.string("status"))
        timestamp = fields["timestamp"]?.timestamp
        paymentDueDate = fields["paymentDueDate"]?.timestamp
    }
}

/// A provider's bill for a whole agreement.
public struct Invoice: Sendable, Equatable {
    /// The invoice's own.
    public var id: InvoiceID
    /// What it is for.
    public var agreementID: AgreementID
    /// As the provider lists them: it decides nothing.
    public var activityIDs: [ActivityID]
    /// Who bills.
    public var issuerID: NodeID?
    /// How it wants to be paid: to be compared with what was agreed.
    public var paymentPlatform: String
    /// ``Amount/largest`` for what nobody can pay.
    public var amount: Amount
    /// The amount as the bill has it.
    package var asked: String
    /// What became of it.
    public var status: DocumentStatus
    /// When it was made.
    public var timestamp: Timestamp?
    /// When it is to be paid.
    public var paymentDueDate: Timestamp?

    package init(_ json: JSON) throws {
        let fields = try Fields(json, "invoice")
        id = try fields.id("invoiceId")
        agreementID = try fields.id("agreementId")
        // The provider's own list, which decides nothing.
        activityIDs = (fields["activityIds"]?.array ?? []).compactMap { $0.id() }
        issuerID = fields.optionalID("issuerId")
        paymentPlatform = fields["paymentPlatform"]?.line ?? ""
        (amount, asked) = fields.billed("amount")
        status = DocumentStatus(rawValue: try fields.string("status"))
        timestamp = fields["timestamp"]?.timestamp
        paymentDueDate = fields["paymentDueDate"]?.timestamp
    }
}

/// Something that happened to a debit note or an invoice.
public struct PaymentEvent: Sendable, Equatable {
    /// `DebitNoteReceivedEvent`, `InvoiceReceivedEvent`, `…SettledEvent`, `…CancelledEvent` and others.
    public var kind: String
    /// The note, of an event of one.
    public var debitNoteID: DebitNoteID?
    /// The invoice, of an event of one.
    public var invoiceID: InvoiceID?
    /// When, by the daemon's clock: what is asked for next is what came after it.
    public var date: Timestamp

    package init(_ json: JSON) throws {
        let fields = try Fields(json, "payment event")
        kind = try fields.string("eventType")
        date = try fields.timestamp("eventDate")
        invoiceID = fields.optionalID("invoiceId")
        debitNoteID = invoiceID == nil ? try fields.id("debitNoteId") : nil
    }

    /// Whether it says that a bill came.
    public var isReceived: Bool { kind.hasSuffix("ReceivedEvent") }
}

/// A transfer that settled one or several documents.
public struct Payment: Sendable, Equatable {
    /// The payment's own.
    public var id: PaymentID
    /// Who was paid.
    public var payeeID: NodeID?
    /// All of it.
    public var amount: Amount
    /// What of it was for which agreement.
    public var agreements: [AgreementID: Amount]
    /// Base64 of the transaction's hash.
    public var details: String?

    package init(_ json: JSON) throws {
        let fields = try Fields(json, "payment")
        id = try fields.id("paymentId")
        payeeID = fields.optionalID("payeeId")
        amount = try fields.amount("amount")
        agreements = [:]
        for item in fields["agreementPayments"]?.array ?? [] {
            if let id: AgreementID = item["agreementId"]?.id(), let amount = item["amount"]?.amount {
                agreements[id] = amount
            }
        }
        details = fields["details"]?.line
    }
}

/// Why an invoice is not accepted.
public enum RejectionReason: String, Sendable {
    case incorrectAmount = "INCORRECT_AMOUNT"
    case badService = "BAD_SERVICE"
    case unsolicitedService = "UNSOLICITED_SERVICE"
}
