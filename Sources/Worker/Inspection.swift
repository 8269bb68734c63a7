import Jobs
import NeuralNetwork
import Tensors

/// What is in a weights, shard, delta or predictions file.
public struct Inspection: Codable, Sendable, Equatable {
    public enum Kind: String, Codable, Sendable {
        case weights, delta, shard, predictions
        /// A safetensors file of somebody else.
        case other
    }

    /// One tensor; the figures are missing where it has no elements.
    public struct Entry: Codable, Sendable, Equatable {
        public var name: String
        public var dtype: String
        public var shape: [Int]
        public var minimum: Double?
        public var maximum: Double?
        public var mean: Double?
        /// NaNs and infinities; the other figures leave them out.
        public var notFinite: Int

        enum CodingKeys: String, CodingKey {
            case name, dtype, shape, minimum, maximum, mean
            case notFinite = "not_finite"
        }
    }

    public var kind: Kind
    public var path: String
    /// Size of the file as stored.
    public var byteCount: Int
    /// Of the file as stored.
    public var sha256: String
    public var isCompressed: Bool
    public var metadata: [String: String]
    public var tensors: [Entry]
    /// Numbers in all tensors together.
    public var elements: Int
    /// Why a file that carries a model description is no usable weights file.
    public var problem: String?
    /// How many examples of each class a shard with integer labels has.
    public var labels: [Int]?

    enum CodingKeys: String, CodingKey {
        case kind, path, sha256, metadata, tensors, elements, problem, labels
        case byteCount = "bytes"
        case isCompressed = "compressed"
    }

    /// Reads a file. Throws what reading a safetensors file throws.
    public init(contentsOf path: String) throws(DeMLError) {
        let bytes = try Files.read(path, maximumBytes: maximumFileBytes())
        let file: Safetensors
        do throws(DeMLError) {
            file = try Safetensors(storedBytes: bytes, maximumBytes: maximumFileBytes())
        } catch {
            throw error.within(path)
        }
        self.path = path
        byteCount = bytes.count
        sha256 = sha256Hex(bytes)
        isCompressed = Gzip.isGzip(bytes)
        metadata = file.metadata
        kind = Self.kind(of: file)
        var entries: [Entry] = []
        for (name, tensor) in file.tensors {
            entries.append(try Entry(name, tensor))
        }
        tensors = entries
        elements = file.tensors.reduce(0) { $0 + $1.tensor.count }
        if kind == .weights {
            do throws(DeMLError) {
                _ = try Weights(file)
            } catch {
                problem = error.summary
            }
        }
        if kind == .shard, let y = file["y"] { labels = try Self.histogram(y) }
    }

    private static func kind(of file: Safetensors) -> Kind {
        if file.metadata[Weights.modelKey] != nil { return .weights }
        if file.metadata["deml.examples"] != nil { return .delta }
        if file["predictions"] != nil { return .predictions }
        return file["x"] != nil ? .shard : .other
    }

    /// Counts of the class ids 0, 1, …; nil for anything but a reasonable number of classes.
    private static func histogram(_ y: Tensor) throws(DeMLError) -> [Int]? {
        guard y.dtype.isInteger, y.shape.count == 1 else { return nil }
        let labels = try y.integers()
        guard let largest = labels.max(), (0..<1000).contains(largest), labels.allSatisfy({ $0 >= 0 }) else {
            return nil
        }
        var counts = [Int](repeating: 0, count: largest + 1)
        for label in labels { counts[label] += 1 }
        return counts
    }
}

extension Inspection.Entry {
    init(_ name: String, _ tensor: Tensor) throws(DeMLError) {
        self.init(
            name: name, dtype: tensor.dtype.rawValue, shape: tensor.shape, minimum: nil, maximum: nil, mean: nil,
            notFinite: 0)
        let flat = try tensor.reshaped([tensor.count])
        var sum = 0.0
        var finite = 0
        // In pieces, because a shard as numbers of double precision is eight times its size.
        for start in stride(from: 0, to: tensor.count, by: 1 << 16) {
            for value in try Self.values(flat.rows(start..<min(start + (1 << 16), tensor.count))) {
                guard value.isFinite else {
                    notFinite += 1
                    continue
                }
                minimum = min(minimum ?? value, value)
                maximum = max(maximum ?? value, value)
                sum += value
                finite += 1
            }
        }
        if finite > 0 { mean = sum / Double(finite) }
    }

    private static func values(_ tensor: Tensor) throws(DeMLError) -> [Double] {
        if tensor.dtype == .bool { return tensor.bytes.map { Double($0) } }
        return tensor.dtype.isInteger ? try tensor.integers().map(Double.init) : try tensor.floats().map(Double.init)
    }
}

// MARK: - For people

extension Inspection {
    /// Lines for a person: everything, or what fits into 4000 bytes, because a Golem guest loses output beyond 4096.
    public func text(isComplete: Bool = false) -> String {
        let lines = lines()
        guard !isComplete else { return lines.joined(separator: "\n") }
        var room = 4000 - 60
        let shown = lines.prefix { line in
            room -= line.utf8.count + 1
            return room >= 0
        }
        let rest = lines.count - shown.count
        return (shown + (rest > 0 ? ["  … and \(rest) more lines (--all)"] : [])).joined(separator: "\n")
    }

    private func lines() -> [String] {
        var lines = [
            "\(path.quotedForMessage): \(kind.rawValue), \(byteCount) bytes\(isCompressed ? " (gzip)" : "")",
            "sha256  \(sha256)",
        ]
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) {
            let isLong = value.utf8.count > 1000
            lines.append("\(key.bare)  \(isLong ? "\(value.utf8.count) bytes of text" : value.escaped)")
        }
        if let problem { lines.append("problem  \(problem)") }
        if let labels { lines.append("labels  \(labels.prefix(100).map(String.init).joined(separator: " "))") }
        lines.append("\(tensors.count) tensors, \(elements) numbers")
        let names = tensors.map(\.name.bare)
        let width = names.map(\.count).max() ?? 0
        for (name, tensor) in zip(names, tensors) {
            let pad = String(repeating: " ", count: width - name.count)
            lines.append("  \(name)\(pad)  \(tensor.summary)")
        }
        return lines
    }
}

extension Inspection.Entry {
    fileprivate var summary: String {
        var text = "\(dtype) \(shape)"
        if let minimum, let maximum, let mean {
            text +=
                "  \(decimal(minimum, places: 4)) … \(decimal(maximum, places: 4)), mean \(decimal(mean, places: 4))"
        }
        if notFinite > 0 { text += "  \(notFinite) not finite" }
        return text
    }
}

extension String {
    /// A name out of a file, as messages show it, without the quotes.
    fileprivate var bare: String { String(quotedForMessage.dropFirst().dropLast()) }

    /// Without what could steer a terminal.
    fileprivate var escaped: String { harmless(maximum: .max) }
}
