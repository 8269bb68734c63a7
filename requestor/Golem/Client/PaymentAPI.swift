import NIOHTTP1

extension GolemClient {
    /// Whom the app-key stands for.
    public func me() async throws -> Identity {
        try Identity(await call(.GET, "/me"))
    }

    /// Which release the daemon is.
    public func version() async throws -> DaemonVersion {
        try DaemonVersion(await call(.GET, "/version/get"))
    }

    /// Allocations, debit notes, invoices.
    public var payment: PaymentAPI { PaymentAPI(client: self) }
    /// Demands, proposals, agreements, scans.
    public var market: MarketAPI { MarketAPI(client: self) }
    /// What runs on providers.
    public var activity: ActivityAPI { ActivityAPI(client: self) }
    /// Addresses on the daemon's bus.
    public var services: ServicesAPI { ServicesAPI(client: self) }
}

/// Allocations, debit notes and invoices (`/payment-api/v1`).
public struct PaymentAPI: Sendable {
    let client: GolemClient
    private let prefix = "/payment-api/v1"

    init(client: GolemClient) {
        self.client = client
    }

    // MARK: Allocations

    /// Sets funds aside. The daemon asks the chain for the balance: 0.1 to 0.3 s.
    ///
    /// - Parameters:
    ///   - platform: e.g. `erc20-hoodi-tglm`. Always named, because the daemon's own default is another network.
    ///   - timeout: when the funds become free again by themselves.
    public func allocate(_ amount: Amount, platform: String, timeout: Timestamp) async throws -> Allocation {
        let body: JSON = [
            "totalAmount": .string(amount.description), "paymentPlatform": .string(platform), "makeDeposit": false,
            "timeout": .string(timeout.description),
        ]
        do {
            return try Allocation(await client.call(.POST, prefix + "/allocations", body: body, wait: .seconds(30)))
        } catch var error as GolemError where error.code == .refused {
            let problem = error.answer.flatMap { JSON(parsing: $0) }
            if problem?["instance"]?.string?.hasSuffix("insufficient-account-funds") == true
                || error.message.contains("nsufficient funds")
            {
                error.code = .budget
                let funds = problem?["availableFunds"]?.amount.map { "\($0) GLM are free; " } ?? ""
                error.hint = funds + "allocate less than that, release old allocations, or fund the account"
            } else {
                error.hint = "is `\(platform)` a payment platform of this daemon? See: yagna payment driver list"
            }
            throw error
        }
    }

    /// `notFound` for one that is unknown or was released.
    public func allocation(_ id: AllocationID) async throws -> Allocation {
        try Allocation(await client.call(.GET, prefix + "/allocations/\(id)"))
    }

    /// Those that are open, of this app-key.
    public func allocations() async throws -> [Allocation] {
        try await client.call(.GET, prefix + "/allocations").list("allocations").map { try Allocation($0) }
    }

    /// Changes the amount or the time-out of an allocation.
    public func amend(_ id: AllocationID, total: Amount? = nil, timeout: Timestamp? = nil) async throws -> Allocation {
        var body: [String: JSON] = [:]
        body["totalAmount"] = total.map { .string($0.description) }
        body["timeout"] = timeout.map { .string($0.description) }
        return try Allocation(
            await client.call(.PUT, prefix + "/allocations/\(id)", body: .object(body), wait: .seconds(30)))
    }

    /// Frees what is left of an allocation. Releasing it again, or one that is unknown, is not an error.
    public func release(_ id: AllocationID) async throws {
        do {
            _ = try await client.call(.DELETE, prefix + "/allocations/\(id)", wait: .seconds(15))
        } catch let error as GolemError where error.code == .gone || error.code == .notFound {
            return
        }
    }

    /// What a demand must say so that providers can be paid from these allocations.
    public func decorations(for allocations: [AllocationID]) async throws -> Decorations {
        try Decorations(
            await client.call(
                .GET, prefix + "/demandDecorations",
                query: [("allocationIds", allocations.map(\.rawValue).joined(separator: ","))]))
    }

    /// The ways of paying that are set up.
    public func requestorAccounts() async throws -> [PaymentAccount] {
        try await client.call(.GET, prefix + "/requestorAccounts").list("accounts").map { try PaymentAccount($0) }
    }

    /// What hinders payments now, as the driver says it; empty when all is well.
    public func driverProblems(network: String, driver: String = "erc20") async throws -> [String] {
        try await client.call(
            .GET, prefix + "/payments/status", query: [("network", network), ("driver", driver)], wait: .seconds(15)
        ).list("driver status").map(\.description)
    }

    // MARK: Debit notes

    /// Waits up to `timeout` for events after `after` (exclusive) and returns them in order.
    public func debitNoteEvents(after: Timestamp, timeout: Duration) async throws -> [PaymentEvent] {
        try await events("debitNoteEvents", after: after, timeout: timeout)
    }

    /// `notFound` when there is none of that id; `malformed` for one that makes no sense.
    public func debitNote(_ id: DebitNoteID) async throws -> DebitNote {
        try DebitNote(await client.call(.GET, prefix + "/debitNotes/\(id)"))
    }

    /// All that ever came for this app-key.
    public func debitNotes() async throws -> [DebitNote] {
        try await client.call(.GET, prefix + "/debitNotes").list("debit notes").map { try DebitNote($0) }
    }

    /// Accepts a debit note; the daemon takes no amount but exactly the one that is due.
    public func acceptDebitNote(_ id: DebitNoteID, amount: Amount, allocation: AllocationID) async throws {
        try await accept("debitNotes", BillID(id), amount, allocation)
    }

    // MARK: Invoices

    /// Waits up to `timeout` for events after `after` (exclusive) and returns them in order.
    public func invoiceEvents(after: Timestamp, timeout: Duration) async throws -> [PaymentEvent] {
        try await events("invoiceEvents", after: after, timeout: timeout)
    }

    /// `notFound` when there is none of that id; `malformed` for one that makes no sense.
    public func invoice(_ id: InvoiceID) async throws -> Invoice {
        try Invoice(await client.call(.GET, prefix + "/invoices/\(id)"))
    }

    /// Those that came after a time by the daemon's clock; all without one.
    public func invoices(after: Timestamp? = nil) async throws -> [Invoice] {
        try await client.call(.GET, prefix + "/invoices", query: [("afterTimestamp", after?.description)])
            .list("invoices").map { try Invoice($0) }
    }

    /// Accepts an invoice; the daemon takes no amount but exactly the one that is billed.
    public func acceptInvoice(_ id: InvoiceID, amount: Amount, allocation: AllocationID) async throws {
        try await accept("invoices", BillID(id), amount, allocation)
    }

    /// Refuses an invoice. Its provider is told `reason` and `message`. It can still be accepted later.
    public func rejectInvoice(_ id: InvoiceID, reason: RejectionReason, message: String) async throws {
        let body: JSON = [
            "rejectionReason": .string(reason.rawValue), "totalAmountAccepted": "0", "message": .string(message),
        ]
        _ = try await client.call(
            .POST, prefix + "/invoices/\(id)/reject", query: [("timeout", "10")], body: body,
            wait: .seconds(10))
    }

    /// The transfers that settled an invoice.
    public func payments(of invoice: InvoiceID) async throws -> [Payment] {
        try await client.call(.GET, prefix + "/invoices/\(invoice)/payments").list("payments")
            .map { try Payment($0) }
    }

    private func accept(_ what: String, _ id: BillID, _ amount: Amount, _ allocation: AllocationID) async throws {
        _ = try await client.call(
            .POST, prefix + "/\(what)/\(id)/accept", query: [("timeout", "10")],
            body: ["totalAmountAccepted": .string(amount.description), "allocationId": JSON(allocation)],
            wait: .seconds(10))
    }

    private func events(_ what: String, after: Timestamp, timeout: Duration) async throws -> [PaymentEvent] {
        try await client.poll(
            .GET, prefix + "/" + what,
            query: [("afterTimestamp", after.description), ("timeout", seconds(timeout)), ("maxEvents", "100")],
            wait: timeout
        ).map { try PaymentEvent($0) }
    }
}

extension GolemClient {
    /// A long poll for a list: a 408 means that nothing came.
    func poll(
        _ method: HTTPMethod, _ path: String, query: [(String, String?)], wait: Duration
    ) async throws -> [JSON] {
        do {
            return try await call(method, path, query: query, wait: wait).list("events")
        } catch let error as GolemError where error.status == 408 {
            return []
        }
    }
}
