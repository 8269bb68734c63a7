import Synchronization

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// The ledger of one run: a file of JSON lines (``LedgerText``) that is only ever appended to, and saved to disk before
/// anything that a line announces is done. The process that writes it holds a lock on it; a ledger that is neither locked
/// nor closed belongs to a run that crashed.
public final class Ledger: Sendable {
    public let path: String
    private let file: LocalFile
    /// What stood in it when it was opened.
    public let entries: [LedgerEntry]
    /// What of that cannot be relied on.
    package let damage: [LedgerText.Damage]
    /// The number of the next line.
    private let next: Mutex<Int>

    /// Opens or begins a ledger.
    /// - Throws: `conflict` if another process is using it; `corrupted` if a line is damaged, with the line's number.
    public convenience init(path: String) throws {
        try self.init(path: path, allowingDamage: false)
    }

    package init(path: String, allowingDamage: Bool) throws {
        self.path = path
        file = try LocalFile(path, .append)
        guard file.tryLock() else {
            throw GolemError(
                .conflict, "another process is using this ledger", place: path,
                hint: "wait for the other run to end, or give this one another name")
        }
        let size = try file.size()
        let text = LedgerText(try file.read(at: 0, count: size))
        entries = text.entries
        damage = text.damage
        next = Mutex(text.next)
        if !allowingDamage, let error = Ledger.error(damage, path) { throw error }
        // A line that a crash has torn is cut off, or the next one would be glued to it.
        if text.wholeBytes < size { try file.truncate(to: text.wholeBytes) }
        if text.lacksLineFeed { try file.appendDurably([UInt8(ascii: "\n")]) }
    }

    public func append(_ entry: LedgerEntry) throws {
        try next.withLock { next in
            try file.appendDurably(LedgerText.line(entry, number: next))
            next += 1
        }
    }

    /// What is wrong with a ledger, by name; `nil` when nothing is.
    static func error(_ damage: [LedgerText.Damage], _ path: String) -> GolemError? {
        guard let first = damage.first else { return nil }
        let others = damage.count > 1 ? "; so are \(damage.count - 1) more" : ""
        return GolemError(
            .corrupted, "line \(first.line) of the ledger is damaged: \(first.reason)\(others)", place: path,
            hint: "what was promised is asked of the daemon when the run is resumed")
    }

    /// Gives up the lock; nothing may be appended any more.
    func close() { file.unlock() }

    /// Puts these entries in the place of a damaged ledger, which is kept beside it. Open it anew then.
    func replace(with entries: [LedgerEntry]) throws {
        let new = path + ".new"
        LocalFile.remove(new)
        do {
            let file = try LocalFile(new, .append)
            let lines = entries.enumerated().flatMap { LedgerText.line($1, number: $0 + 1) }
            try file.appendDurably(lines)
        }
        var number = 1
        while FileManager.default.fileExists(atPath: "\(path).damaged-\(number)") { number += 1 }
        try LocalFile.rename(path, to: "\(path).damaged-\(number)")
        try LocalFile.rename(new, to: path)
    }

    package static func path(folder: String, run: String) -> String {
        let name = run.map { $0.isLetter || $0.isNumber || "-_.".contains($0) ? $0 : "_" }
        return folder + "/" + String(name) + ".ledger.jsonl"
    }

    /// The ledgers in a folder, sorted by name.
    static func paths(in folder: String) -> [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return names.filter { $0.hasSuffix(".ledger.jsonl") }.sorted().map { folder + "/" + $0 }
    }

    static func createFolder(_ path: String) throws {
        do {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        } catch {
            throw GolemError(.io, "cannot create the folder of ledgers", place: path, cause: error)
        }
    }
}

/// What a ledger says about one run, for a table of past payments.
public struct RunPayments: Sendable {
    public var runName: String
    public var budget: Amount
    public var platform: String
    public var opened: Timestamp
    /// `nil`: it is running, or it crashed; the next run cleans up after it.
    public var closed: Timestamp?
    public var allocations: [AllocationID]
    public var expenses: [Expense]
    /// Which lines could not be read, in a sentence; the sums are without them.
    public var damage: String?

    /// All runs whose ledgers lie in a folder, the oldest first.
    public static func all(in folder: String) throws -> [RunPayments] {
        try Ledger.paths(in: folder).compactMap { path in
            let file = try LocalFile(path, .read)
            let text = LedgerText(try file.read(at: 0, count: file.size()))
            let entries = text.entries
            guard case .opened(let run, let budget, let platform, let at)? = entries.first(where: \.isOpening) else {
                return nil
            }
            let machine = PaymentStateMachine(budget: budget, replaying: entries)
            return RunPayments(
                runName: run, budget: budget, platform: platform, opened: at, closed: machine.closedAt,
                allocations: machine.openAllocations, expenses: machine.expenses(run: run, now: machine.lastTime),
                damage: Ledger.error(text.damage, path).map { "\($0.message) (\(path))" })
        }.sorted { $0.opened < $1.opened }
    }
}
