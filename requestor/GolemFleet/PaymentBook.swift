import Golem
import Tensors

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// What past runs have cost, from the ledgers, and what the daemon says has become of it.
public struct PaymentBook: Sendable {
    /// One run.
    public struct Page: Sendable, Equatable, Codable {
        public var run: String
        /// GLM accepted in all, exact.
        public var paidText: String
        public var budget: String
        public var begun: String
        /// What is not as it should be: it is running, or it crashed.
        public var note: String?
        public var lines: [Line]

        enum CodingKeys: String, CodingKey {
            case run, budget, begun, note, lines
            case paidText = "paid_glm"
        }
    }

    /// One agreement.
    public struct Line: Sendable, Equatable, Codable {
        public var provider: String
        public var providerID: String
        public var agreement: String
        public var seconds: Double
        public var billed: String
        public var paid: String
        /// As the ledger says, or `settled` when the daemon says so.
        public var state: String
        public var reason: String?

        enum CodingKeys: String, CodingKey {
            case provider, agreement, seconds, state, reason
            case providerID = "provider_id"
            case billed = "billed_glm"
            case paid = "paid_glm"
        }
    }

    private let settings: GolemSettings
    private let folder: String

    public init(settings: GolemSettings, environment: [String: String]) {
        self.settings = settings
        folder = settings.dataFolder(environment: environment) + "/ledgers"
    }

    /// Pages of the runs in these folders; of all runs when none is named. The oldest run comes first.
    public func pages(of runFolders: [String]) async throws -> [Page] {
        guard Files.isDirectory(folder) else { return [] }
        var runs = try RunPayments.all(in: folder)
        if !runFolders.isEmpty {
            let names = Set(try runFolders.compactMap { try GolemFleet.runName($0, isNew: false) })
            runs = runs.filter { names.contains($0.runName) }
        }
        let statuses = await invoiceStatuses()
        return runs.map { page($0, statuses) }
    }

    /// Invoices by agreement, as the daemon knows them; nothing when it does not answer.
    private func invoiceStatuses() async -> [AgreementID: Invoice]? {
        guard let invoices = try? await settings.client().payment.invoices() else { return nil }
        return Dictionary(invoices.map { ($0.agreementID, $0) }, uniquingKeysWith: { _, new in new })
    }

    private func page(_ run: RunPayments, _ invoices: [AgreementID: Invoice]?) -> Page {
        var notes: [String] = []
        if let damage = run.damage { notes.append(damage + ": the sums are without it") }
        if run.closed == nil { notes.append("still running, or killed: the next run cleans up after it") }
        if invoices == nil { notes.append("the daemon does not answer: states are those of the ledger") }
        return Page(
            run: run.runName, paidText: run.expenses.reduce(Amount.zero) { $0 + $1.accepted }.description,
            budget: run.budget.description, begun: run.opened.description,
            note: notes.isEmpty ? nil : notes.joined(separator: "; "),
            lines: run.expenses.map { expense in
                var state = expense.state.rawValue
                if let invoice = invoices?[expense.agreementID] { state = invoice.status.rawValue.lowercased() }
                return Line(
                    provider: expense.providerName, providerID: expense.providerID.rawValue,
                    agreement: expense.agreementID.rawValue, seconds: expense.seconds,
                    billed: expense.billed.description, paid: expense.accepted.description,
                    state: state, reason: expense.reason)
            })
    }
}

/// The market of the daemon that the settings name.
public struct GolemMarket: Sendable {
    private let settings: GolemSettings
    private let environment: [String: String]

    public init(settings: GolemSettings, environment: [String: String]) {
        self.settings = settings
        self.environment = environment
    }

    /// Listens for so long, or until nothing new comes, or until so many usable offers are there.
    public func survey(
        for time: Duration, enough: Int = .max, progress: @Sendable (MarketSurvey.Progress) -> Void = { _ in }
    ) async throws -> MarketSurvey {
        let client = try settings.client()
        let path = settings.dataFolder(environment: environment) + "/providers.sqlite"
        let records = Files.exists(path) ? try ProviderMemory(path: path).records(at: Date()) : []
        let known = Dictionary(records.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        do {
            return try await MarketSurvey.take(
                client, settings, for: time, enough: enough, memory: known, progress: progress)
        } catch {
            throw GolemFleet.readable(error)
        }
    }
}
