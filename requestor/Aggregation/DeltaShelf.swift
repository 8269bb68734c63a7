import Tensors

/// Deltas that have to wait: for those of the clients before them, or until all of a round are there. A few lie in memory,
/// the others in a temporary file, from which they are read, not mapped: what is not looked at takes no memory.
///
/// A copy shares the file with the original: only one of them may be changed.
public struct DeltaShelf: Sendable {
    /// Where a delta lies.
    private enum Place {
        case memory(Update)
        case file(slot: Int, examples: Int, workDone: Double)
    }

    /// Values of every delta.
    public let parameters: Int
    /// The most deltas that lie in memory, and the most that ever did.
    package let mostInMemory: Int
    package private(set) var peakInMemory = 0
    /// The most deltas that ever lay in the file.
    package var peakInFile: Int { slots }

    private let folder: String
    private var places: [Int: Place] = [:]
    private var inMemory = 0
    private var file: TemporaryFile?
    private var slots = 0
    private var freeSlots: [Int] = []

    /// - Parameters:
    ///   - folder: where the temporary file is made when it is needed; nothing is left there, even after a crash.
    ///   - memory: bytes of deltas in memory; two deltas always fit.
    public init(parameters: Int, folder: String, memory: Int = 32 << 20) {
        self.parameters = parameters
        self.folder = folder
        mostInMemory = max(2, memory / max(1, parameters * MemoryLayout<Float>.stride))
    }

    /// Clients whose deltas are here, in ascending order.
    public var clients: [Int] { places.keys.sorted() }
    public var count: Int { places.count }

    /// Examples that a client's delta stands for; 0 when it is not here.
    public func examples(of client: Int) -> Int {
        switch places[client] {
        case .memory(let update): update.examples
        case .file(_, let examples, _): examples
        case nil: 0
        }
    }

    /// The share of its training that a client has done; 0 when its delta is not here.
    public func workDone(of client: Int) -> Double {
        switch places[client] {
        case .memory(let update): update.workDone
        case .file(_, _, let workDone): workDone
        case nil: 0
        }
    }

    /// Takes a delta of `parameters` values; one of the same client is replaced.
    /// - Throws: `.diskFull`, `.io`, `.cannotCreate`
    public mutating func put(_ update: Update) throws(DeMLError) {
        precondition(update.values.count == parameters, "deltas have as many values as the model has parameters")
        forget(update.client)
        if inMemory < mostInMemory {
            places[update.client] = .memory(update)
            inMemory += 1
            peakInMemory = max(peakInMemory, inMemory)
            return
        }
        let file: TemporaryFile
        if let present = self.file {
            file = present
        } else {
            file = try TemporaryFile(folder: folder)
            self.file = file
        }
        let slot = freeSlots.popLast() ?? slots
        slots = max(slots, slot + 1)
        try file.write(update.values, at: slot * parameters)
        places[update.client] = .file(slot: slot, examples: update.examples, workDone: update.workDone)
    }

    /// A client's delta, left where it is.
    public func update(of client: Int) throws(DeMLError) -> Update? {
        switch places[client] {
        case .memory(let update): return update
        case .file(let slot, let examples, let workDone):
            guard let file else { return nil }
            let values = try file.read(parameters, at: slot * parameters)
            return Update(client: client, examples: examples, values: values, workDone: workDone)
        case nil: return nil
        }
    }

    /// A client's delta, taken away.
    public mutating func take(_ client: Int) throws(DeMLError) -> Update? {
        let update = try update(of: client)
        forget(client)
        return update
    }

    private mutating func forget(_ client: Int) {
        switch places.removeValue(forKey: client) {
        case .memory: inMemory -= 1
        case .file(let slot, _, _): freeSlots.append(slot)
        case nil: break
        }
    }

    /// Calls `body` with block after block of coordinates of all deltas: which coordinates, and their values, shape
    /// `[clients, coordinates]`, clients in ascending order.
    /// - Parameter memory: bytes of a block.
    public func forEachBlock(
        memory: Int = 32 << 20, _ body: (_ coordinates: Range<Int>, _ values: UnsafeBufferPointer<Float>) -> Void
    ) throws(DeMLError) {
        let clients = clients
        guard !clients.isEmpty else { return }
        let width = max(1, min(parameters, memory / (clients.count * MemoryLayout<Float>.stride)))
        var block = [Float](repeating: 0, count: width * clients.count)
        var start = 0
        while start < parameters {
            let range = start..<min(start + width, parameters)
            for (row, client) in clients.enumerated() {
                let target = row * range.count..<(row + 1) * range.count
                switch places[client] {
                case .memory(let update): block.replaceSubrange(target, with: update.values[range])
                case .file(let slot, _, _):
                    try file?.read(into: &block, target, at: slot * parameters + range.lowerBound)
                case nil: break
                }
            }
            block.withUnsafeBufferPointer {
                body(range, UnsafeBufferPointer(rebasing: $0[..<(range.count * clients.count)]))
            }
            start = range.upperBound
        }
    }
}
