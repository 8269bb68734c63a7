import NIOHTTP1

/// Demands, proposals and agreements (`/market-api/v1`).
public struct MarketAPI: Sendable {
    let client: GolemClient
    private let prefix = "/market-api/v1"

    init(client: GolemClient) {
        self.client = client
    }

    // MARK: Demands

    /// Publishes a demand. It lives an hour by default; its polls answer 404 afterwards.
    public func subscribe(_ demand: Demand) async throws -> DemandID {
        try await client.call(.POST, prefix + "/demands", body: demand.body)
            .id(orUnder: "subscriptionId")
    }

    /// Demands of ours that are published, with their properties.
    public func demands() async throws -> [(id: DemandID, properties: [String: JSON])] {
        try await client.call(.GET, prefix + "/demands").list("demands").map { json in
            let fields = try Fields(json, "demand")
            return (try fields.id("demandId"), fields["properties"]?.object ?? [:])
        }
    }

    /// Withdraws a demand; one that is gone already is not an error.
    public func unsubscribe(_ id: DemandID) async throws {
        do {
            _ = try await client.call(.DELETE, prefix + "/demands/\(id)")
        } catch let error as GolemError where error.code == .gone || error.code == .notFound {
            return
        }
    }

    /// Waits up to `timeout` for events. They are consumed: each is delivered once.
    ///
    /// `notFound` means that the demand is over and must be published anew.
    public func demandEvents(_ id: DemandID, timeout: Duration, maxEvents: Int = 50) async throws -> [DemandEvent] {
        precondition((1...100).contains(maxEvents), "the daemon takes 1 to 100")
        return try await client.poll(
            .GET, prefix + "/demands/\(id)/events",
            query: [("timeout", seconds(timeout)), ("maxEvents", String(maxEvents))], wait: timeout
        ).map { try DemandEvent($0) }
    }

    /// Answers a provider's proposal; returns the id of ours.
    public func counter(_ proposal: ProposalID, of demand: DemandID, with body: Demand) async throws -> ProposalID {
        try await client.call(
            .POST, prefix + "/demands/\(demand)/proposals/\(proposal)", body: body.body
        ).id(orUnder: "proposalId")
    }

    /// Declines a provider's proposal. Fails with `peer` or `daemon` when the provider is gone.
    public func reject(_ proposal: ProposalID, of demand: DemandID, reason: String) async throws {
        _ = try await client.call(
            .POST, prefix + "/demands/\(demand)/proposals/\(proposal)/reject",
            body: ["message": .string(reason)])
    }

    // MARK: Agreements

    /// Makes an agreement from a provider's `Draft` proposal. `conflict`: one was made from it before.
    public func createAgreement(from proposal: ProposalID, validTo: Timestamp) async throws -> AgreementID {
        try await client.call(
            .POST, prefix + "/agreements",
            body: ["proposalId": JSON(proposal), "validTo": .string(validTo.description)]
        ).id(orUnder: "agreementId")
    }

    /// Sends the agreement to the provider.
    ///
    /// - Parameter session: the tag under which ``agreementEvents(session:after:timeout:)`` files its events; without
    ///   one they are never seen.
    public func confirm(_ id: AgreementID, session: String) async throws {
        _ = try await client.call(
            .POST, prefix + "/agreements/\(id)/confirm", query: [("appSessionId", session)],
            wait: .seconds(15))
    }

    /// Waits up to `timeout` for the provider's answer.
    public func wait(for id: AgreementID, timeout: Duration) async throws -> AgreementAnswer {
        do {
            _ = try await client.call(
                .POST, prefix + "/agreements/\(id)/wait", query: [("timeout", seconds(timeout))],
                wait: timeout)
            return .approved
        } catch let error as GolemError where error.status == 408 {
            return .pending
        } catch let error as GolemError where error.status == 410 {
            let said = error.answer.flatMap { JSON(parsing: $0) }?["message"]?.line
            return .refused(said ?? error.answer ?? "Rejected")
        }
    }

    /// An agreement as the daemon has it. `notFound` when there is none of that id.
    public func agreement(_ id: AgreementID) async throws -> Agreement {
        try Agreement(await client.call(.GET, prefix + "/agreements/\(id)"))
    }

    /// Ids and states of agreements; `state` as in ``Agreement/State``.
    public func agreements(state: Agreement.State? = nil, session: String? = nil) async throws -> [AgreementID] {
        try await client.call(
            .GET, prefix + "/agreements", query: [("state", state?.rawValue), ("appSessionId", session)]
        ).list("agreements").map { try $0["id"]?.id() ?? $0.id(orUnder: "agreementId") }
    }

    /// Takes back an agreement that was not answered yet.
    public func cancel(_ id: AgreementID, reason: String) async throws {
        _ = try await client.call(
            .POST, prefix + "/agreements/\(id)/cancel", body: ["message": .string(reason)],
            wait: .seconds(15))
    }

    /// Ends an agreement. One that is over already (410) is not an error.
    ///
    /// While the provider's node is unreachable this fails and the agreement stays `Approved` on our side.
    ///
    /// - Parameter code: `Success`, `Cancelled` or another conventional `golem.requestor.code`.
    public func terminate(_ id: AgreementID, code: String, message: String) async throws {
        do {
            _ = try await client.call(
                .POST, prefix + "/agreements/\(id)/terminate",
                body: ["message": .string(message), "golem.requestor.code": .string(code)], wait: .seconds(10))
        } catch let error as GolemError where error.code == .gone {
            return
        }
    }

    /// Waits up to `timeout` for events of agreements confirmed under `session`, after `after` (exclusive).
    public func agreementEvents(session: String, after: Timestamp, timeout: Duration) async throws -> [AgreementEvent] {
        try await client.poll(
            .GET, prefix + "/agreementEvents",
            query: [
                ("appSessionId", session), ("afterTimestamp", after.description), ("timeout", seconds(timeout)),
                ("maxEvents", "100"),
            ], wait: timeout
        ).map { try AgreementEvent($0) }
    }

    // MARK: Scan

    /// Begins to look at offers without negotiating. The daemon must have had a demand before, or it knows of none.
    public func beginScan(_ constraints: Constraint, lifetime: Duration = .seconds(600)) async throws -> ScanID {
        let answer = try await client.call(
            .POST, prefix + "/scan",
            body: [
                "type": "offer", "timeout": JSON(Int(lifetime.inSeconds)), "constraints": .string(constraints.text),
            ])
        return try answer.int64.flatMap { ScanID(String($0)) } ?? answer.id(orUnder: "id")
    }

    /// Waits up to `timeout` for offers that were not told yet, at most `maxEvents` of them; each is told once. `notFound` when
    /// the scan is over.
    public func scanned(_ id: ScanID, timeout: Duration, maxEvents: Int = 100) async throws -> [ScannedOffer] {
        try await client.poll(
            .GET, prefix + "/scan/\(id)/events",
            query: [("timeout", seconds(timeout)), ("maxEvents", String(maxEvents))], wait: timeout
        ).map { try ScannedOffer($0) }
    }

    /// Ends a scan; one that is over already is not an error.
    public func endScan(_ id: ScanID) async throws {
        do {
            _ = try await client.call(.DELETE, prefix + "/scan/\(id)")
        } catch let error as GolemError where error.code == .gone || error.code == .notFound {
            return
        }
    }
}
