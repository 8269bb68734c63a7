import CSQLite
import Synchronization
import Tensors

/// One SQLite file, with as much of SQLite's interface as is needed here: a whole library for it took longer to compile
/// than all of this module. Every access is one transaction; several processes may use the file at once.
final class Database: Sendable {
    /// A number, a text, or NULL.
    enum Value: Sendable, Equatable, ExpressibleByStringLiteral, ExpressibleByFloatLiteral {
        case null
        case number(Double)
        case text(String)

        init(stringLiteral value: String) { self = .text(value) }
        init(floatLiteral value: Double) { self = .number(value) }
        init(_ number: Double?) { self = number.map(Value.number) ?? .null }
        init(_ text: String?) { self = text.map(Value.text) ?? .null }

        var number: Double? { if case .number(let number) = self { number } else { nil } }
        var text: String? { if case .text(let text) = self { text } else { nil } }
    }

    typealias Row = [String: Value]

    /// An open transaction.
    struct Connection: ~Copyable {
        fileprivate let handle: OpaquePointer

        /// Runs one statement, whose question marks stand for `arguments`, and gives its rows by the names of columns.
        @discardableResult
        func run(_ sql: String, _ arguments: [Value] = []) throws(DeMLError) -> [Row] {
            var prepared: OpaquePointer?
            try check(sqlite3_prepare_v2(handle, sql, -1, &prepared, nil), sql)
            guard let statement = prepared else { return [] }
            defer { sqlite3_finalize(statement) }
            for (index, argument) in arguments.enumerated() {
                let position = Int32(index + 1)
                switch argument {
                case .null: try check(sqlite3_bind_null(statement, position), sql)
                case .number(let number): try check(sqlite3_bind_double(statement, position, number), sql)
                case .text(let text):
                    // SQLITE_TRANSIENT, a cast that Swift does not import: SQLite copies the text.
                    let copies = unsafeBitCast(-1, to: sqlite3_destructor_type.self)
                    try check(sqlite3_bind_text(statement, position, text, Int32(text.utf8.count), copies), sql)
                }
            }
            var rows: [Row] = []
            while true {
                switch sqlite3_step(statement) {
                case SQLITE_ROW: rows.append(Self.row(statement))
                case SQLITE_DONE: return rows
                default: throw failure(sql)
                }
            }
        }

        private static func row(_ statement: OpaquePointer) -> Row {
            var row: Row = [:]
            for column in 0..<sqlite3_column_count(statement) {
                guard let name = sqlite3_column_name(statement, column) else { continue }
                let value: Value =
                    switch sqlite3_column_type(statement, column) {
                    case SQLITE_INTEGER, SQLITE_FLOAT: .number(sqlite3_column_double(statement, column))
                    case SQLITE_TEXT: .text(sqlite3_column_text(statement, column).map { String(cString: $0) } ?? "")
                    default: .null
                    }
                row[String(cString: name)] = value
            }
            return row
        }

        fileprivate func check(_ status: Int32, _ what: String) throws(DeMLError) {
            guard status == SQLITE_OK else { throw failure(what) }
        }

        private func failure(_ what: String) -> DeMLError {
            DeMLError(.io, "SQLite: \(String(cString: sqlite3_errmsg(handle))), in: \(what)")
        }
    }

    /// Its address, for SQLite's handle is used by one task at a time.
    private struct Handle: ~Copyable, @unchecked Sendable {
        // Unchecked: it is only reached under the mutex, and closed when nobody can reach it any more.
        let pointer: OpaquePointer
        deinit { sqlite3_close_v2(pointer) }
    }

    private let handle: Mutex<Handle>
    private let path: String?

    /// Opens or makes the file, whose folder must exist; nil for one in memory.
    init(path: String?) throws(DeMLError) {
        self.path = path
        var opened: OpaquePointer?
        let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX
        let status = sqlite3_open_v2(path ?? ":memory:", &opened, flags, nil)
        guard status == SQLITE_OK, let opened else {
            let reason = String(cString: sqlite3_errstr(status))
            sqlite3_close_v2(opened)
            throw DeMLError(.io, "SQLite cannot open it: \(reason)", place: path)
        }
        handle = Mutex(Handle(pointer: opened))
        sqlite3_busy_timeout(opened, 10_000)
        let connection = Connection(handle: opened)
        do throws(DeMLError) {
            try connection.run("PRAGMA journal_mode = WAL")
        } catch {
            throw path.map { error.within($0) } ?? error
        }
    }

    /// Runs `body` in a transaction, which is undone where it throws.
    func transaction<Result: Sendable>(
        _ body: (borrowing Connection) throws(DeMLError) -> Result
    ) throws(DeMLError) -> Result {
        do throws(DeMLError) {
            return try handle.withLock { (handle) throws(DeMLError) -> Result in
                let connection = Connection(handle: handle.pointer)
                // A writer from the start: one that begins by reading cannot become one while another writes.
                try connection.run("BEGIN IMMEDIATE")
                do throws(DeMLError) {
                    let result = try body(connection)
                    try connection.run("COMMIT")
                    return result
                } catch {
                    _ = try? connection.run("ROLLBACK")
                    throw error
                }
            }
        } catch {
            throw path.map { error.within($0) } ?? error
        }
    }
}
