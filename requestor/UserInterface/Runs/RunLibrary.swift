import Application
import Federation
import Foundation
import Synchronization
import Tensors

#if canImport(Glibc)
    import Glibc
#endif

/// The runs under `runs/`, as cards and one by one. What was read of a run is kept until its files change.
final class RunLibrary: Sendable {
    /// One run in a list.
    struct Card: Encodable, Sendable {
        var run: String
        var state: RunState
        var fleet: String?
        var data: String?
        /// Rounds that are finished, and how many are wanted.
        var rounds = 0
        var of = 0
        var accuracy: Double?
        var loss: Double?
        /// At most 80 points: round and accuracy (or loss, where there is none).
        var curve: [[Double]] = []
        var isLoss = false
        var seconds = 0.0
        var cost: Double?
        var parameters: Int?
        /// When it was last written to.
        var changed = 0.0
        var message: String?
    }

    private struct Stamp: Equatable {
        var sizes: [Int]
        var changed: Double
        var atWork: Bool
        /// Its process was started here and has not ended.
        var isStarted: Bool
    }

    let application: DeMLApplication
    let background: BackgroundRuns
    private let cards = Mutex<[String: (stamp: Stamp, card: Card)]>([:])
    private let hubs = Mutex<[String: RunHub]>([:])

    init(_ application: DeMLApplication) {
        self.application = application
        background = BackgroundRuns(application)
    }

    private var base: String { application.paths.resolved("runs") }

    /// The folder of a run, by its name in the list: only what is there, never a path.
    func folder(_ name: String) throws -> RunFolder {
        guard !name.isEmpty, !name.hasPrefix("."), !name.contains("/"), !name.contains("\0") else {
            throw PageError(.notFound, "there is no such run", place: name)
        }
        let folder = RunFolder(path: base + "/" + name)
        guard Files.exists(folder.config) || Files.exists(BackgroundRuns.request(of: folder)) else {
            throw PageError(
                .notFound, "there is no such run", place: "runs/" + name, hint: "it may have been moved or removed")
        }
        return folder
    }

    func hub(_ folder: RunFolder) -> RunHub {
        hubs.withLock { hubs in
            if let hub = hubs[folder.path] { return hub }
            let hub = RunHub(folder)
            hubs[folder.path] = hub
            return hub
        }
    }

    /// All runs, those at work first, then the newest.
    func list() throws -> [Card] {
        guard Files.isDirectory(base) else { return [] }
        let names = try Files.names(in: base).filter { name in
            guard !name.hasPrefix("."), Files.isDirectory(base + "/" + name) else { return false }
            let folder = RunFolder(path: base + "/" + name)
            return Files.exists(folder.config) || Files.exists(BackgroundRuns.request(of: folder))
        }
        return names.map { card(RunFolder(path: base + "/" + $0), name: $0) }.sorted {
            let (first, second) = (
                $0.state == .working || $0.state == .preparing, $1.state == .working || $1.state == .preparing
            )
            return first == second ? ($0.changed, $1.run) > ($1.changed, $0.run) : first
        }
    }

    /// A card; what is wrong with the folder stands on it.
    func card(_ folder: RunFolder, name: String) -> Card {
        let stamp = stamp(folder)
        if let known = cards.withLock({ $0[folder.path] }), known.stamp == stamp, Files.exists(folder.config) {
            return known.card
        }
        var card: Card
        do { card = try made(folder, name, stamp) } catch {
            card = Card(run: name, state: .failed, changed: stamp.changed, message: PageError(error).what)
        }
        let made = card
        cards.withLock { $0[folder.path] = (stamp, made) }
        return card
    }

    private func made(_ folder: RunFolder, _ name: String, _ stamp: Stamp) throws -> Card {
        guard Files.exists(folder.config) else { return preparing(folder, name, stamp) }
        let configuration = try folder.readConfiguration()
        let metrics = Files.exists(folder.metrics) ? try folder.readMetrics() : []
        let summary = Files.exists(folder.summary) ? try? folder.readSummary() : nil
        let end = JournalTail.end(of: folder)
        var card = Card(run: name, state: stamp.atWork ? .working : end.state)
        if !stamp.atWork, stamp.isStarted { card.state = .preparing }
        card.message = card.state == .failed ? end.message ?? output(folder) : nil
        card.fleet = configuration.machines.fleet.rawValue
        card.data = (try? folder.readData())?.name ?? Files.name(of: configuration.data.path)
        card.data = card.data?.harmless(maximum: 120)
        card.rounds = metrics.map(\.round).max() ?? 0
        card.of = configuration.federation.rounds
        card.accuracy = metrics.last?.accuracy
        card.loss = metrics.last?.loss
        let trained = metrics.count > 1 ? metrics.filter { $0.round > 0 } : metrics
        card.isLoss = !trained.contains { $0.accuracy != nil }
        let points = trained.map { [Double($0.round), (card.isLoss ? $0.loss : $0.accuracy) ?? .nan] }
        card.curve = Self.thinned(points.filter { $0[1].isFinite }, to: 80)
        card.seconds = summary?.seconds ?? metrics.reduce(0) { $0 + $1.seconds }
        let cost = summary?.costGLM ?? metrics.compactMap(\.costGLM).reduce(0, +)
        card.cost = configuration.machines.fleet == .golem ? cost : nil
        card.parameters = summary?.parameters
        card.changed = stamp.changed
        return card
    }

    /// A run whose process has not come as far as to write what it is.
    private func preparing(_ folder: RunFolder, _ name: String, _ stamp: Stamp) -> Card {
        let isWorking = background.state(of: folder) == .working
        return Card(
            run: name, state: isWorking ? .preparing : .failed, changed: stamp.changed,
            message: isWorking ? nil : output(folder))
    }

    /// What the process has said at its end, without the word that begins it.
    func output(_ folder: RunFolder) -> String? {
        let text = background.output(of: folder)
        guard let range = text.range(of: "error: ", options: .backwards) else {
            return text.split(separator: "\n").last.map(String.init)
        }
        return String(text[range.upperBound...])
    }

    private func stamp(_ folder: RunFolder) -> Stamp {
        var newest = 0.0
        let sizes = [folder.config, folder.metrics, folder.events, folder.summary, BackgroundRuns.log(of: folder)].map {
            path -> Int in
            var status = stat()
            guard stat(path, &status) == 0 else { return -1 }
            newest = max(newest, Double(status.st_mtim.tv_sec) + Double(status.st_mtim.tv_nsec) / 1e9)
            return Int(status.st_size)
        }
        return Stamp(
            sizes: sizes, changed: newest, atWork: folder.isAtWork,
            isStarted: background.known(of: folder) == .working)
    }

    /// At most so many of the points, the first and the last among them.
    static func thinned(_ points: [[Double]], to most: Int) -> [[Double]] {
        guard points.count > most else { return points }
        return (0..<most).map { points[$0 * (points.count - 1) / (most - 1)] }
    }
}

/// How a run ended, from the last part of its journal: a long one is not read for a list.
enum JournalTail {
    static func end(of folder: RunFolder) -> (state: RunState, message: String?) {
        guard let size = Files.size(of: folder.events), let file = FileHandle(forReadingAtPath: folder.events) else {
            return (.stopped, nil)
        }
        defer { try? file.close() }
        try? file.seek(toOffset: UInt64(max(0, size - (64 << 10))))
        let bytes = [UInt8]((try? file.readToEnd()) ?? Data())
        for line in bytes.split(separator: UInt8(ascii: "\n")).reversed() {
            guard let event = try? RunJSON.decode(RunEvent.self, from: line) else { continue }
            switch event.kind {
            case .runFinished: return (.finished, nil)
            case .runInterrupted: return (.interrupted, nil)
            case .runFailed(let end): return (.failed, end.message?.harmlessLines(maximum: 2000))
            case .runStarted: return (.stopped, nil)
            default: continue
            }
        }
        return (.stopped, nil)
    }
}
