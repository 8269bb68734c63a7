import Foundation
import Golem
import Synchronization
import Testing

private let start = Timestamp("2026-11-23T19:17:01Z")!

/// What the daemon knows and a ledger has lost.
@Suite("Recovery of ledgers")
struct LedgerRecoveryTests {
    private let path = NSTemporaryDirectory() + "golem-recovery-\(UInt64.random(in: 0 ... .max)).ledger.jsonl"
    /// A run whose invoice was accepted, and whose notes were.
    private let entries: [LedgerEntry] = [
        .opened(run: "run", budget: 1, platform: "erc20-hoodi-tglm", at: start), .allocation("al", 1),
        .agreement(
            "g",
            Contract(
                providerID: "0x1", providerName: "one", price: LinearPrice(perSecond: 0.01, perCPUSecond: 0, start: 0),
                threads: 1), at: start),
        .activity("a", "g", at: start), .acceptingNote("n", "a", "g", Amount("0.1")!), .accepted("n"),
        .agreementEnded("g", at: start), .acceptingInvoice("i", "g", Amount("0.25")!), .accepted("i"),
    ]

    private func document(_ kind: String, _ id: String, _ amount: String, agreement: String) -> JSON {
        [
            "\(kind)Id": .string(id), "agreementId": .string(agreement), "activityId": "a", "status": "ACCEPTED",
            "amount": .string(amount), "totalAmountDue": .string(amount), "timestamp": "2026-11-23T19:17:02Z",
        ]
    }

    private func answer(_ request: ScriptedRequest) -> ScriptedReply {
        switch request.path {
        case "/payment-api/v1/invoices":
            .json([document("invoice", "i", "0.25", agreement: "g"), document("invoice", "x", "9", agreement: "other")])
        case "/payment-api/v1/debitNotes": .json([document("debitNote", "n", "0.1", agreement: "g")])
        case "/market-api/v1/agreements/g", "/market-api/v1/agreements/other":
            .json([
                "agreementId": .string(String(request.path.split(separator: "/").last ?? "")), "state": "Terminated",
                "appSessionId": request.path.hasSuffix("/g") ? "run-123" : "another-1",
                "offer": [
                    "providerId": "0x1",
                    "properties": [
                        "golem.node.id.name": "one", "golem.com.pricing.model": "linear",
                        "golem.com.usage.vector": ["golem.usage.duration_sec"],
                        "golem.com.pricing.model.linear.coeffs": [0.01, 0],
                    ],
                ],
            ])
        default: .answer(404, #"{"message":null}"#)
        }
    }

    private func recover(
        _ bytes: [UInt8], _ script: @escaping ScriptedServer.Script
    ) async throws -> (Result<[LedgerEntry], any Error>, [RentalEvent]) {
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        let events = Mutex([RentalEvent]())
        var outcome: Result<[LedgerEntry], any Error> = .failure(CancellationError())
        try await ScriptedServer.with(script) { client, _ in
            let recovery = LedgerRecovery(client: client) { event in events.withLock { $0.append(event) } }
            do {
                outcome = .success(try await recovery.open(path, run: "run").entries)
            } catch {
                outcome = .failure(error)
            }
        }
        return (outcome, events.withLock { $0 })
    }

    private func clean() {
        for end in ["", ".new", ".damaged-1", ".damaged-2"] { try? FileManager.default.removeItem(atPath: path + end) }
    }

    @Test("whatever line is damaged, the resumed run counts all that was promised", arguments: 0..<9)
    func damagedLine(index: Int) async throws {
        defer { clean() }
        var lines = entries.enumerated().map { LedgerText.line($1, number: $0 + 1) }
        lines[index][12] ^= 1
        let (outcome, events) = try await recover(lines.flatMap(\.self)) { answer($0) }
        let promised = PaymentStateMachine(budget: 1, replaying: try outcome.get()).promised
        #expect(promised == Amount("0.25")!, "line \(index + 1): \(promised)")
        #expect(
            events.contains { $0.kind == .warning && $0.message.contains("line \(index + 1) of the ledger is damaged") }
        )
        #expect(FileManager.default.fileExists(atPath: path + ".damaged-1"))
        // It is whole now.
        #expect(try Ledger(path: path).entries == outcome.get())
    }

    @Test("lines that are gone from the end are asked for, too")
    func lostEnd() async throws {
        defer { clean() }
        let bytes = entries.prefix(4).enumerated().flatMap { LedgerText.line($1, number: $0 + 1) }
        let (outcome, events) = try await recover(bytes) { answer($0) }
        #expect(PaymentStateMachine(budget: 1, replaying: try outcome.get()).promised == Amount("0.25")!)
        #expect(events.contains { $0.kind == .leftover && $0.message.contains("2 accepted bills") })
        #expect(!FileManager.default.fileExists(atPath: path + ".damaged-1"))
    }

    @Test("a whole ledger is not changed")
    func whole() async throws {
        defer { clean() }
        let bytes = entries.enumerated().flatMap { LedgerText.line($1, number: $0 + 1) }
        let (outcome, events) = try await recover(bytes) { answer($0) }
        #expect(try outcome.get() == entries && events.isEmpty)
        #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == Data(bytes))
    }

    @Test("without the daemon a damaged ledger is refused by file and line; a whole one goes on")
    func withoutDaemon() async throws {
        defer { clean() }
        let whole = entries.enumerated().flatMap { LedgerText.line($1, number: $0 + 1) }
        var damaged = whole
        damaged[whole.count / 2] ^= 1
        let (refused, _) = try await recover(damaged) { _ in .answer(500, #"{"message":"no"}"#) }
        let error = #expect(throws: GolemError.self) { try refused.get() }
        #expect(error?.code == .corrupted && error?.place == path && error?.message.contains("line ") == true)
        let (outcome, events) = try await recover(whole) { _ in .answer(500, #"{"message":"no"}"#) }
        #expect(try outcome.get() == entries)
        #expect(events.map(\.kind) == [.warning])
    }
}
