import Fleets
import Foundation
import Golem
import Tensors

/// A fleet of rented machines: the one place where learning and the Golem Network meet.
///
/// A machine is rented once and kept for the session. It gets each input once, runs the worker by its path, and what comes
/// back counts only when it is what the worker's report names. Who is slow, dead or damaging is left after a second failure
/// and remembered (``ProviderMemory``).
public struct GolemFleet: Fleet {
    public let name = "golem"
    public let needsFiles = true

    private let settings: GolemSettings
    private let memory: ProviderMemory
    private let rent: Renting

    /// Rents machines for the time of a call. Tests put machines of their own here.
    package typealias Renting =
        @Sendable (
            _ request: RentingRequest, _ body: @Sendable @escaping (any MachineSource) async throws -> Void
        ) async throws -> Void

    package struct RentingRequest: Sendable {
        package var machines: Int
        package var runName: String
        /// Fails often, was slow, is dear: smaller is better, `nil` is never.
        package var score: @Sendable (Candidate) -> Double?
        package var onEvent: @Sendable (RentalEvent) -> Void
        /// Told the final table when everything is paid.
        package var onExpenses: @Sendable (Expenses) -> Void
    }

    /// A fleet on the daemon that `settings` name.
    /// - Throws: `DeMLError` with everything that is missing, before anything is spent.
    public init(settings: GolemSettings, environment: [String: String]) throws {
        let folder = settings.dataFolder(environment: environment)
        try Files.createDirectory(folder)
        let memory = try ProviderMemory(path: folder + "/providers.sqlite")
        let renting = try GolemRenting(settings: settings, folder: folder)
        self.init(settings: settings, memory: memory, rent: renting.callAsFunction)
    }

    package init(settings: GolemSettings, memory: ProviderMemory, rent: @escaping Renting) {
        self.settings = settings
        self.memory = memory
        self.rent = rent
    }

    public func withSession<Value: Sendable>(
        _ plan: FleetPlan, notice: @escaping @Sendable (FleetNotice) -> Void,
        _ body: @escaping @Sendable (any FleetSession) async throws -> Value
    ) async throws -> SessionEnd<Value> {
        let folder = plan.folder + "/golem"
        try Files.createDirectory(folder)
        for line in settings.costNotice(machines: plan.machines) { notice(FleetNotice(.info, line)) }
        let book = SessionBook(memory: memory, notice: notice)
        let score = ProviderScore(try memory.records(at: Date()))
        let expenses = Shared<Expenses?>(nil)
        let request = RentingRequest(
            machines: plan.machines, runName: try Self.runName(Files.parent(of: plan.folder) ?? plan.folder) ?? "",
            score: { candidate in
                guard let price = candidate.hourlyCost else { return nil }
                return score.value(
                    provider: candidate.providerID.rawValue,
                    price: price,
                    failuresInRun: candidate.failures)
            },
            onEvent: { book.take($0) },
            onExpenses: { table in expenses.with { $0 = book.withTasks(table) } })

        let result = Shared<Result<Value, any Error>?>(nil)
        do {
            try await rent(request) { source in
                let session = GolemSession(source: source, book: book, folder: folder, machines: plan.machines)
                try await session.run(result) { try await body(session) }
            }
        } catch {
            // What was done with the machines says more than that the renting ended with it.
            if case .failure(let inner)? = result.with({ $0 }), !(inner is CancellationError) { throw inner }
            throw Self.readable(error)
        }
        guard let result = result.with({ $0 }) else { throw CancellationError() }
        return SessionEnd(try result.get(), expenses: expenses.with { $0 })
    }

    /// The name of a run's ledger: the folder's name and a number that is drawn once and kept in the folder, so that a
    /// resumed run goes on with its ledger, and a new run in an old place begins one.
    package static func runName(_ folder: String, isNew: Bool = true) throws -> String? {
        let file = folder + "/golem-run"
        if let bytes = try? Files.read(file, maximumBytes: 200) { return String(decoding: bytes, as: UTF8.self) }
        guard isNew else { return nil }
        let letters = Files.name(of: folder).map {
            $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0)) ? $0 : "-"
        }
        let number = String(UInt32.random(in: .min ... .max), radix: 16)
        let name = String(String(letters).suffix(60)) + "-" + String(repeating: "0", count: 8 - number.count) + number
        try Files.writeAtomically(Array(name.utf8), to: file)
        return name
    }

    /// The client's error as the command prints errors.
    static func readable(_ error: any Error) -> any Error {
        guard let error = error as? GolemError else { return error }
        let code: DeMLError.Code =
            switch error.code {
            case .noMachine, .budget, .unreachable: .workerFailed
            case .timedOut: .timedOut
            case .usage, .unauthorized: .usage
            default: .io
            }
        let more =
            error.code == .noMachine
            ? "`deml offers` shows who is there and what the limits leave" : "`deml doctor` looks at everything"
        return DeMLError(
            code, error.message, place: error.place, hint: error.hint.map { $0 + "; " + more } ?? more,
            cause: error.cause ?? (error.request == nil ? nil : error))
    }
}
