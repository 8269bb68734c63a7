/// The machines that work: processes on this computer, threads of this process, or rented machines on Golem.
///
/// A fleet does one thing: within a session it performs jobs, any number at a time. It knows nothing of rounds: who is asked
/// again, what a slow machine means and when a round is over is decided by who gives the jobs, so that every fleet behaves
/// alike. Shards, weights and models are all just inputs of jobs.
public protocol Fleet: Sendable {
    /// "local", "simulated" or "golem": what `--on` takes and what the run folder records.
    var name: String { get }

    /// Whether inputs must be files. A fleet inside this process works with their contents instead, and then neither
    /// shards nor deltas are written.
    var needsFiles: Bool { get }

    /// Whether a job that is slow may be faster elsewhere: not where all are threads of this process, which would only do
    /// it twice. True unless a fleet says otherwise.
    var hasOtherMachines: Bool { get }

    /// Gathers what the fleet needs (folders, rented machines), performs `body` with it, and gives everything back in every
    /// case: return, error, cancellation. Cancellation of the calling task is the only way to end it early.
    ///
    /// When the fleet itself fails beyond repair (no machine at all, budget spent) it cancels `body` and throws.
    /// - Parameter notice: what a person should know in between ("rented provider-2 at 0.02 GLM/h"); any task may call it.
    /// - Returns: what `body` returned, and what the session has cost when everything was paid.
    func withSession<Value: Sendable>(
        _ plan: FleetPlan, notice: @escaping @Sendable (FleetNotice) -> Void,
        _ body: @escaping @Sendable (any FleetSession) async throws -> Value
    ) async throws -> SessionEnd<Value>
}

extension Fleet {
    public var hasOtherMachines: Bool { true }
}

/// The machines of a fleet, for as long as they are there.
public protocol FleetSession: Sendable {
    /// Has one machine do one job.
    ///
    /// Called concurrently, for every client of a round at once: the fleet bounds its own concurrency and makes the rest
    /// wait. It must not choose a machine in `job.avoiding` while it can have another. It keeps `job.timeLimit`, counted
    /// from ``JobProgress/started(_:)``, and may set a tighter one of its own. A machine that already has an input, which
    /// is known by its digest, need not get it again. Cancellation kills the work and frees the machine before this
    /// returns.
    /// - Returns: an answer that has passed the border (``DeliveredFiles``).
    /// - Throws: ``WorkerFailure`` for everything that concerns this one attempt. Any other error ends the run.
    func perform(
        _ job: FleetJob, progress: @escaping @Sendable (JobProgress) -> Void
    ) async throws -> JobAnswer

    /// What the session has cost so far, all of it, wasted work included. `nil` where work is free.
    func expenses() async -> Expenses?

    /// Takes note of what was found out about a provider's work. Where nobody is paid there is nothing to do.
    func judge(_ verdict: WorkVerdict, of provider: Provider) async
}

extension FleetSession {
    public func expenses() async -> Expenses? { nil }
}

/// What a fleet may prepare for.
public struct FleetPlan: Sendable {
    /// Machines that there is work for at once.
    public var machines: Int
    /// Where a fleet may keep what belongs to this session (task folders, a ledger). Exists.
    public var folder: String

    public init(machines: Int, folder: String) {
        self.machines = machines
        self.folder = folder
    }
}

/// How a session ended.
public struct SessionEnd<Value: Sendable>: Sendable {
    public var value: Value
    /// Of the whole session, when everything is paid; `nil` where work is free.
    public var expenses: Expenses?

    public init(_ value: Value, expenses: Expenses? = nil) {
        self.value = value
        self.expenses = expenses
    }
}
