import Fleets
import Foundation
import Golem
import Synchronization

/// What a session knows of providers: who did how much, who is to blame for what. What outlasts it goes to the
/// ``ProviderMemory``.
final class SessionBook: Sendable {
    private struct State {
        var tasks: [String: Int] = [:]
        var blamed: Set<String> = []
        /// How often each warning was given.
        var warnings: [String: Int] = [:]
    }

    private let memory: ProviderMemory
    private let notice: @Sendable (FleetNotice) -> Void
    private let state = Mutex(State())

    init(memory: ProviderMemory, notice: @escaping @Sendable (FleetNotice) -> Void) {
        self.memory = memory
        self.notice = notice
    }

    /// Multiply-adds a second that a provider has shown in earlier runs.
    func rememberedSpeed(_ provider: Provider) -> Double? {
        (try? memory.record(provider.id, at: Date()))?.speed
    }

    func succeeded(_ provider: Provider, speed: Double?) {
        state.withLock { $0.tasks[provider.id, default: 0] += 1 }
        try? memory.succeeded(provider.id, name: provider.name, speed: speed, at: Date())
    }

    func failed(_ provider: Provider, because reason: String) {
        state.withLock { _ = $0.blamed.insert(provider.id) }
        try? memory.failed(provider.id, name: provider.name, reason: reason, at: Date())
    }

    /// It gave wrong values, or refused what others can do: in later runs it is asked last.
    func condemned(_ provider: Provider, because reason: String) {
        for _ in 0..<2 { failed(provider, because: reason) }
    }

    func tell(_ notice: FleetNotice) { self.notice(notice) }

    /// The table of costs with the tasks that each provider did.
    func withTasks(_ expenses: Expenses) -> Expenses {
        let tasks = state.withLock { $0.tasks }
        var expenses = expenses
        var seen: Set<String> = []
        for index in expenses.agreements.indices {
            // Tasks are counted by provider; the first agreement with it shows them.
            let id = expenses.agreements[index].provider.id
            expenses.agreements[index].tasks = seen.insert(id).inserted ? tasks[id] ?? 0 : 0
        }
        return expenses
    }

    /// What the market says.
    func take(_ event: RentalEvent) {
        if event.kind == .providerLeft, let id = event.providerID?.rawValue {
            let isKnown = state.withLock { !$0.blamed.insert(id).inserted }
            // Failures of tasks are remembered where they happen; here remain those of agreements and activities.
            if !isKnown {
                for _ in 0..<2 {
                    try? memory.failed(id, name: event.providerName ?? id, reason: event.message, at: Date())
                }
            }
        }
        if let overview = event.overview { return notice(FleetNotice(overview)) }
        guard let level = event.level else { return }
        var details = ["kind": event.kind.rawValue]
        details["agreement"] = event.agreementID?.rawValue
        details["activity"] = event.activityID?.rawValue
        details["amount"] = event.amount?.description
        // Exact in the details; a person reads three or four digits.
        var message = event.message + (event.amount.map { " (\(shortText($0.glm)) GLM)" } ?? "")
        if level == .warning {
            let key = "\(event.kind) \(event.providerName ?? "") \(event.message)"
            let count = state.withLock { state in
                state.warnings[key, default: 0] += 1
                return state.warnings[key] ?? 1
            }
            // Said once, and again when it has come ten times as often.
            guard [1, 10, 100, 1000, 10_000].contains(count) else { return }
            if count > 1 { message += " (\(count) times so far)" }
        }
        notice(
            FleetNotice(
                level, message,
                provider: event.providerID.map { Provider(id: $0.rawValue, name: event.providerName ?? $0.rawValue) },
                details: details))
    }
}

extension FleetNotice {
    /// Where the renting stands: a line for a display that lives, figures for events.jsonl.
    init(_ overview: MarketOverview) {
        let refused = overview.refused.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }
        self.init(
            .info, overview.line,
            details: [
                "kind": FleetNotice.marketKind, "offers": "\(overview.offers)", "providers": "\(overview.providers)",
                "refused": refused.joined(separator: ", "), "negotiating": "\(overview.negotiating)",
                "deploying": "\(overview.starting)", "deploying_seconds": "\(overview.longestStart.components.seconds)",
                "ready": "\(overview.ready)", "wanted": "\(overview.wanted)",
            ])
    }
}

extension RentalEvent {
    /// Whether a person should know, and how urgently.
    var level: FleetNotice.Level? {
        switch kind {
        case .machineLost, .providerLeft, .billRefused, .budget, .daemon, .warning: .warning
        case .leftover, .allocated, .released, .machineReady, .invoice, .waiting: .info
        case .demand, .market, .offer, .offerRefused, .negotiation, .agreement, .activity, .machineClosed, .debitNote:
            nil
        }
    }
}
