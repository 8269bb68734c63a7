import Datasets
import Foundation
import NeuralNetwork
import Tensors

/// Examples to predict for, with labels where they have some, in the shape the model takes.
struct PredictionInputs {
    var path: String
    /// `[N, …input shape]`
    var x: Tensor
    /// Class ids; nil where nothing is known or numbers are predicted.
    var labels: [Int]?
    var classNames: [String]?

    init(_ data: DataRequest, shape: [Int], invert: Bool, paths: Paths) throws(DeMLError) {
        path = try data.path(paths)
        do throws(DeMLError) {
            if let (x, y) = try Self.withoutLabels(path, shape: shape, invert: invert) {
                self.x = try Self.fitted(x, to: shape)
                labels = try y.map { (y) throws(DeMLError) in try y.integers() }
                return
            }
            let dataset = try data.dataset(paths)
            let part = dataset.test ?? dataset.train
            x = try Self.fitted(part.x, to: shape)
            labels = dataset.classes == nil ? nil : try part.y.integers()
            classNames = dataset.classNames
        } catch {
            let place = paths.shown(path)
            throw error.place?.hasPrefix(path) == true || error.place?.hasPrefix(place) == true
                ? error : error.within(place)
        }
    }

    /// Pictures, single IDX files, files of tensors and CSV tables that hold inputs alone; nil for anything else, which
    /// is then read as a dataset.
    private static func withoutLabels(
        _ path: String, shape: [Int], invert: Bool
    ) throws(DeMLError) -> (x: Tensor, y: Tensor?)? {
        guard !Files.isDirectory(path) else { return nil }
        let start = try Files.prefix(of: path, count: 16)
        if Picture.isPicture(start) {
            let picture = try Picture(Files.read(path, maximumBytes: 64 << 20))
            return (try picture.tensor(shape: shape, invert: invert), nil)
        }
        if start.starts(with: [0x50, 0x4b]) {
            let archive = try NPZ(Files.read(path, maximumBytes: 4 << 30))
            return try tensors(archive.names) { (name) throws(DeMLError) in try archive.tensor(name) }
        }
        var bytes = try Files.read(path, maximumBytes: 4 << 30)
        guard !bytes.isEmpty else { throw DeMLError(.truncated, "the file is empty") }
        if Gzip.isGzip(bytes) { bytes = try Gzip.decompress(bytes, maximumBytes: 4 << 30) }
        if bytes.starts(with: [0, 0, 8]) { return (try IDX.tensor(storedBytes: bytes), nil) }
        if bytes.count > 8, bytes[8] == UInt8(ascii: "{"), bytes[7] == 0 {
            let file = try Safetensors(decoding: bytes)
            return try tensors(file.tensors.map(\.name)) { (name) throws(DeMLError) in file[name] }
        }
        return try table(bytes, columns: shape.reduce(1, *)).map { ($0, nil) }
    }

    /// `x` (or `x_test`, or the only tensor) where there is no `y` to go with it.
    private static func tensors(
        _ names: [String], _ tensor: (String) throws(DeMLError) -> Tensor?
    ) throws(DeMLError) -> (x: Tensor, y: Tensor?)? {
        if names.contains("y") || names.contains("y_test") || names.contains("y_train") { return nil }
        guard let name = ["x", "x_test"].first(where: names.contains) ?? (names.count == 1 ? names[0] : nil) else {
            return nil
        }
        return try tensor(name).map { ($0, nil) }
    }

    /// A CSV table of numbers with exactly the model's number of columns, so without a label; nil otherwise.
    private static func table(_ bytes: [UInt8], columns: Int) throws(DeMLError) -> Tensor? {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw DeMLError(.malformed, "the file is nothing that is known: no dataset, picture, or table of text")
        }
        var values: [Float] = []
        var rows = 0
        for (index, line) in text.split(whereSeparator: \.isNewline).enumerated() {
            let fields = line.split(separator: ",", omittingEmptySubsequences: false)
            guard fields.count == columns else {
                if rows == 0 { return nil }
                throw DeMLError(
                    .shape, "line \(index + 1) has \(fields.count) columns, those before have \(columns)")
            }
            let numbers = fields.compactMap { Float($0.trimmingCharacters(in: .whitespaces)) }
            guard numbers.count == columns, numbers.allSatisfy(\.isFinite) else {
                // The first line may hold names.
                if index == 0 { continue }
                throw DeMLError(.malformed, "line \(index + 1) holds something else than numbers")
            }
            values += numbers
            rows += 1
        }
        return rows == 0 ? nil : Tensor(shape: [rows, columns], floats: values)
    }

    /// The examples in the model's shape; images may lack the channel, rows may be flat. One example may come without
    /// the first dimension.
    private static func fitted(_ x: Tensor, to shape: [Int]) throws(DeMLError) -> Tensor {
        let size = shape.reduce(1, *)
        let example = Array(x.shape.dropFirst())
        if example == shape { return x }
        if x.shape == shape || (x.count == size && x.shape.filter { $0 != 1 } == shape.filter { $0 != 1 }) {
            return try x.reshaped([1] + shape)
        }
        guard let count = x.shape.first, count > 0, example.reduce(1, *) == size,
            example.count == 1 || example.filter({ $0 != 1 }) == shape.filter({ $0 != 1 })
        else {
            throw DeMLError(.shape, "an example has the shape \(example), but the model takes \(shape)")
        }
        return try x.reshaped([count] + shape)
    }
}
