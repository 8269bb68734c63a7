import Foundation
import GRDB

/// What is known of providers from earlier runs: how fast they trained and how they failed (SQLite, in the user's data
/// folder). Failures fade: after `halfLife` they count half.
///
/// One file may be used by several runs at once; each operation is one transaction.
public final class ProviderMemory: Sendable {
    /// What is remembered of one provider, faded to a given time.
    public struct Record: Sendable, Equatable {
        public var id: String
        public var name: String
        /// Samples a second, averaged over the newest tasks; `nil` before the first.
        public var speed: Double?
        /// Tasks that went well and that went wrong, newest counting most.
        public var successes: Double
        public var failures: Double
        /// The last failure, in a sentence.
        public var reason: String?
        public var lastSeen: Date

        /// The share of tasks that go wrong, with one imagined success so that a stranger is not judged by one failure.
        public var failureRate: Double { failures / (successes + failures + 1) }

        /// Whether this provider is asked only when nobody else is there: it failed twice lately, and more often than not.
        public var isAskedLast: Bool { failures >= 1.5 && failures > successes }
    }

    public static let halfLife: TimeInterval = 3 * 86_400
    /// How much a new measurement of speed counts against the old average.
    static let newWeight = 0.3

    private let database: DatabaseQueue

    /// Opens or makes the file at `path`; its folder must exist.
    public init(path: String) throws {
        var configuration = Configuration()
        configuration.busyMode = .timeout(10)
        configuration.prepareDatabase { try $0.execute(sql: "PRAGMA journal_mode = WAL") }
        database = try DatabaseQueue(path: path, configuration: configuration)
        try migrate()
    }

    /// One that forgets everything at its end.
    public init() throws {
        database = try DatabaseQueue()
        try migrate()
    }

    private func migrate() throws {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("providers") { database in
            try database.create(table: "provider") { table in
                table.primaryKey("id", .text)
                table.column("name", .text).notNull()
                table.column("speed", .double)
                table.column("successes", .double).notNull().defaults(to: 0)
                table.column("failures", .double).notNull().defaults(to: 0)
                table.column("reason", .text)
                table.column("seen", .double).notNull()
            }
        }
        try migrator.migrate(database)
    }

    /// A task went well, at so many samples a second.
    public func succeeded(_ id: String, name: String, speed: Double?, at now: Date) throws {
        try change(id, name: name, at: now) { record in
            record.successes += 1
            guard let speed, speed.isFinite, speed > 0 else { return }
            record.speed = record.speed.map { $0 + Self.newWeight * (speed - $0) } ?? speed
        }
    }

    /// A task, an agreement or a machine went wrong by the provider's doing.
    public func failed(_ id: String, name: String, reason: String, at now: Date) throws {
        try change(id, name: name, at: now) { record in
            record.failures += 1
            record.reason = reason
        }
    }

    public func record(_ id: String, at now: Date) throws -> Record? {
        try database.read { try Row.fetchOne($0, sql: "SELECT * FROM provider WHERE id = ?", arguments: [id]) }
            .map { Self.record($0, at: now) }
    }

    /// All that are known, the newest first.
    public func records(at now: Date) throws -> [Record] {
        try database.read { try Row.fetchAll($0, sql: "SELECT * FROM provider ORDER BY seen DESC, id") }
            .map { Self.record($0, at: now) }
    }

    /// Forgets everybody who was not seen since `date`.
    public func forget(before date: Date) throws {
        try database.write {
            try $0.execute(sql: "DELETE FROM provider WHERE seen < ?", arguments: [date.timeIntervalSince1970])
        }
    }

    private func change(_ id: String, name: String, at now: Date, _ body: (inout Record) -> Void) throws {
        try database.write { database in
            let row = try Row.fetchOne(database, sql: "SELECT * FROM provider WHERE id = ?", arguments: [id])
            var record =
                row.map { Self.record($0, at: now) }
                ?? Record(id: id, name: name, speed: nil, successes: 0, failures: 0, reason: nil, lastSeen: now)
            record.name = name
            body(&record)
            try database.execute(
                sql: """
                    INSERT OR REPLACE INTO provider (id, name, speed, successes, failures, reason, seen)
                    VALUES (?, ?, ?, ?, ?, ?, ?)
                    """,
                arguments: [
                    id, record.name, record.speed, record.successes, record.failures, record.reason,
                    now.timeIntervalSince1970,
                ])
        }
    }

    private static func record(_ row: Row, at now: Date) -> Record {
        let seen: Double = row["seen"]
        let faded = exp2(-max(0, now.timeIntervalSince1970 - seen) / halfLife)
        return Record(
            id: row["id"], name: row["name"], speed: row["speed"], successes: row["successes"] * faded,
            failures: row["failures"] * faded, reason: row["reason"], lastSeen: Date(timeIntervalSince1970: seen))
    }
}

extension GolemSettings {
    /// Where DeML keeps what outlives a run: `data_folder`, else `$XDG_DATA_HOME/deml`, else `~/.local/share/deml`.
    public func dataFolder(environment: [String: String]) -> String {
        if let dataFolder { return dataFolder }
        if let base = environment["XDG_DATA_HOME"], base.hasPrefix("/") { return base + "/deml" }
        return (environment["HOME"] ?? "/tmp") + "/.local/share/deml"
    }
}
