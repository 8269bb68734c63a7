import Fleets
import ForeignText
import Foundation
import Jobs
import Synchronization
import Tensors
import TestSupport
import Testing

@Suite("Processes of workers", .serialized)
struct ChildProcessTests {
    private let scratch: ScratchFolder
    private let lines = Lines()

    init() throws { scratch = try ScratchFolder() }

    final class Lines: Sendable {
        static let longest = 16_384
        private let state = Mutex((splitter: LineSplitter(maximumLineBytes: longest), list: [String]()))

        func add(_ bytes: ArraySlice<UInt8>) {
            state.withLock { state in
                state.list += state.splitter.take(bytes).map { String(decoding: $0, as: UTF8.self) }
            }
        }

        /// With what has no line end at the end.
        var all: [String] {
            state.withLock { state in
                if let rest = state.splitter.rest() { state.list.append(String(decoding: rest, as: UTF8.self)) }
                return state.list
            }
        }
    }

    private func run(_ body: String, timeLimit: Double = 60, arguments: [String] = []) async throws
        -> ChildProcess.Outcome
    {
        let path = try scratch.script("program", body)
        return try await ChildProcess(
            executable: path, arguments: arguments, directory: scratch.path, timeLimit: timeLimit
        ) { [lines] in lines.add($0) }.run()
    }

    private func isAlive(_ process: Int32) -> Bool { kill(process, 0) == 0 }

    @Test("what a program says on stderr steers no terminal")
    func harmlessStandardError() async throws {
        let outcome = try await run(
            #"printf 'one\033[2J\033]0;owned\007 \302\233\342\200\256two\r\nthree\n' >&2; exit 3"#)
        #expect(outcome.exitCode == 3)
        let harmful = outcome.standardErrorTail.unicodeScalars.filter { $0 != "\n" && ForeignText.isHarmful($0) }
        #expect(harmful.isEmpty, "\(ForeignText.quoted(outcome.standardErrorTail))")
        for word in ["one", "two\n", "three"] { #expect(outcome.standardErrorTail.contains(word)) }
    }

    @Test("lines, exit code and stderr of a program; its arguments, folder, empty environment and empty stdin")
    func ordinary() async throws {
        let outcome = try await run(
            #"""
            echo "arguments $1,$2"; pwd; echo "input $(/usr/bin/wc -c)"
            echo "environment $(/usr/bin/tr '\0' ' ' < /proc/$$/environ)."
            printf 'no end of line'; echo oops >&2; exit 65
            """#, arguments: ["a b", "*"])
        #expect(outcome.exitCode == 65 && outcome.signal == nil && !outcome.isLate)
        #expect(outcome.standardErrorTail == "oops\n")
        #expect(
            lines.all == [
                "arguments a b,*", URL(filePath: scratch.path).resolvingSymlinksInPath().path(), "input 0",
                "environment .",
                "no end of line",
            ])
    }

    @Test("a program that is not there says so")
    func missing() async throws {
        let error = await #expect(throws: DeMLError.self) {
            _ = try await ChildProcess(
                executable: "/nowhere/deml-worker", arguments: [], directory: "/", timeLimit: 1
            ) { _ in }.run()
        }
        #expect(error?.code == .workerFailed && error?.hint != nil)
    }

    @Test("much output is read to its end, and the tail of stderr kept")
    func muchOutput() async throws {
        let outcome = try await run(
            "i=0; while [ $i -lt 20000 ]; do echo \"line $i of stdout\"; echo \"line $i of stderr\" >&2; i=$((i+1)); done"
        )
        #expect(lines.all.count == 20_000 && lines.all.last == "line 19999 of stdout")
        #expect(outcome.standardErrorTail.utf8.count == ChildProcess.tailBytes)
        #expect(outcome.standardErrorTail.hasSuffix("line 19999 of stderr\n"))
    }

    @Test("an endless line does not fill the memory")
    func endlessLine() async throws {
        _ = try await run("/usr/bin/head -c 3000000 /dev/zero | /usr/bin/tr '\\0' x; echo; echo end")
        #expect(lines.all.map(\.utf8.count) == [Lines.longest, 3])
    }

    @Test("a program whose time is up is killed with everything it has started")
    func late() async throws {
        let outcome = try await run("/bin/sleep 600 & echo $!; echo $$; wait", timeLimit: 0.5)
        #expect(outcome.isLate && outcome.signal == SIGKILL)
        let processes = lines.all.compactMap { Int32($0) }
        #expect(processes.count == 2)
        try await waitUntilGone(processes)
    }

    @Test("a program that ignores SIGTERM, closes its output and sleeps is killed all the same")
    func deaf() async throws {
        let outcome = try await run("trap '' TERM INT HUP; echo $$; exec >&- 2>&-; /bin/sleep 600", timeLimit: 0.5)
        #expect(outcome.isLate && outcome.signal == SIGKILL)
        try await waitUntilGone(lines.all.compactMap { Int32($0) })
    }

    @Test("a descendant that keeps the pipes open neither keeps us waiting nor lives on")
    func descendant() async throws {
        let start = ContinuousClock.now
        let outcome = try await run("/bin/sleep 600 & echo $!; exit 3")
        #expect(outcome.exitCode == 3)
        #expect(ContinuousClock.now - start < .seconds(30))
        try await waitUntilGone(lines.all.compactMap { Int32($0) })
    }

    @Test("cancellation kills the program before it returns")
    func cancelled() async throws {
        let (started, signal) = AsyncStream.makeStream(of: Int32.self)
        let path = try scratch.script("program", "echo $$; /bin/sleep 600")
        let process = ChildProcess(executable: path, arguments: [], directory: "/", timeLimit: 600) { bytes in
            if let number = Int32(String(decoding: bytes, as: UTF8.self).dropLast()) { signal.yield(number) }
        }
        let running = Task { try await process.run() }
        var number: Int32 = 0
        for await value in started {
            number = value
            break
        }
        running.cancel()
        #expect(try await running.value.signal == SIGKILL)
        #expect(!isAlive(number))
    }

    @Test("neither files nor zombies are left behind")
    func nothingLeft() async throws {
        _ = try await run("exit 0")
        func openFiles() throws -> Int { try Files.names(in: "/proc/self/fd").count }
        let before = try openFiles()
        for _ in 0..<100 { _ = try await run("exit 0") }
        // Other tests run beside this one and open some of their own.
        #expect(try openFiles() < before + 60)
    }

    private func waitUntilGone(_ processes: [Int32]) async throws {
        let deadline = ContinuousClock.now + .seconds(20)
        for process in processes {
            // A killed descendant is a zombie until init has reaped it.
            while isAlive(process), !isZombie(process), ContinuousClock.now < deadline { await Task.yield() }
            #expect(!isAlive(process) || isZombie(process))
        }
    }

    private func isZombie(_ process: Int32) -> Bool {
        let status = (try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8)) ?? ""
        return status.split(separator: ")").last?.hasPrefix(" Z") ?? true
    }
}

@Suite("Slots")
struct SlotPoolTests {
    @Test("slots are handed out once, waited for in line, and not to who avoids them")
    func inLine() async throws {
        let pool = SlotPool(count: 2)
        #expect(try await pool.acquire() == 0)
        #expect(try await pool.acquire() == 1)
        async let next = pool.acquire(avoiding: [0])
        pool.release(1)
        #expect(try await next == 1)
        pool.release(0)
        #expect(try await pool.acquire(avoiding: [0, 1]) == 0, "who avoids all takes any")
    }

    @Test("cancelling a wait leaves the slot to others")
    func cancelled() async throws {
        let pool = SlotPool(count: 1)
        let slot = try await pool.acquire()
        let waiting = Task { try await pool.acquire() }
        waiting.cancel()
        await #expect(throws: CancellationError.self) { try await waiting.value }
        pool.release(slot)
        #expect(try await pool.acquire() == 0)
    }

    @Test("never more at work than there are slots")
    func bound() async throws {
        let pool = SlotPool(count: 3)
        let atWork = Counter()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<200 {
                group.addTask {
                    let slot = try await pool.acquire()
                    atWork.begin()
                    await Task.yield()
                    atWork.end()
                    pool.release(slot)
                }
            }
            try await group.waitForAll()
        }
        #expect(atWork.most <= 3)
    }

    private final class Counter: Sendable {
        private let state = Mutex((now: 0, most: 0))

        func begin() { state.withLock { $0 = ($0.now + 1, max($0.most, $0.now + 1)) } }
        func end() { state.withLock { $0.now -= 1 } }
        var most: Int { state.withLock { $0.most } }
    }
}
