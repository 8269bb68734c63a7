import Tensors

/// A folder of pictures: `oak/1.png`, a folder for each class; or `train/oak/1.png` and `test/oak/2.jpg`; or pictures alone,
/// without classes.
struct PictureFolder {
    struct Entry {
        let path: String
        let label: String?
    }

    let train: [Entry]
    let test: [Entry]
    /// What lies among the pictures and is none, as `oak/3.webp`; without what systems put into folders unasked.
    private let others: [String]

    /// Nil where the folder holds no pictures.
    init?(_ folder: String) throws(DeMLError) {
        var others: [String] = []
        func set(_ names: [String]) throws(DeMLError) -> [Entry] {
            for name in names where Files.isDirectory(Files.path(folder, name)) {
                return try Self.classes(Files.path(folder, name), &others)
            }
            return []
        }
        let sets = try set(["train", "training"])
        if !sets.isEmpty {
            train = sets
            test = try set(["test", "val", "valid", "validation"])
            self.others = others
            return
        }
        let classes = try Self.classes(folder, &others)
        train = classes.isEmpty ? try Self.pictures(folder, label: nil, &others) : classes
        test = []
        self.others = others
        if train.isEmpty { return nil }
    }

    private static func classes(_ folder: String, _ others: inout [String]) throws(DeMLError) -> [Entry] {
        var entries: [Entry] = []
        for name in try Files.names(in: folder).sorted() where Files.isDirectory(Files.path(folder, name)) {
            entries += try pictures(Files.path(folder, name), label: name, &others)
        }
        return entries
    }

    private static func pictures(
        _ folder: String, label: String?, _ others: inout [String]
    ) throws(DeMLError) -> [Entry] {
        var entries: [Entry] = []
        for name in try Files.names(in: folder).sorted() {
            if PictureFile.isName(name) {
                entries.append(Entry(path: Files.path(folder, name), label: label))
            } else if !name.hasPrefix("."), !["thumbs.db", "desktop.ini"].contains(name.lowercased()) {
                others.append(label.map { "\($0)/\(name)" } ?? name)
            }
        }
        return entries
    }

    /// The pictures as arrays: in the model's shape, or in one that suits all of them.
    func source(_ options: DatasetOptions) throws(DeMLError) -> DatasetSource {
        let shape = try shape(options)
        var source = DatasetSource.empty
        source.train = train.isEmpty ? nil : try Self.part(train, shape.shape, options)
        source.test = test.isEmpty ? nil : try Self.part(test, shape.shape, options)
        source.decisions.append(
            Decision(
                "pictures",
                "\(train.count + test.count), as \(shape.shape[0] == 1 ? "grey" : "colour") of \(shape.shape[2])×\(shape.shape[1])"
                    + " (\(shape.why))"))
        if !others.isEmpty {
            source.decisions.append(
                Decision(
                    "left out", "\(others.count) that are neither PNG nor JPEG: \(Naming.list(others, limit: 5))",
                    isWarning: true))
        }
        return source
    }

    private func shape(_ options: DatasetOptions) throws(DeMLError) -> (shape: [Int], why: String) {
        if let wanted = options.schema?.inputShape ?? options.inputShape {
            let shape = wanted.count == 2 ? [1] + wanted : wanted
            guard shape.count == 3, shape[0] == 1 || shape[0] == 3 else {
                throw DeMLError(.shape, "the model takes \(wanted) and no pictures")
            }
            return (shape, "the model's input")
        }
        var sizes: Set<[Int]> = []
        var isColour = false
        // A look at some says what the others are like; each is brought to the shape anyway.
        for entry in (train + test).enumerated().filter({ $0.offset % max(1, train.count / 200) == 0 }).map(\.element) {
            let picture = try Self.read(entry.path)
            sizes.insert([picture.height, picture.width])
            isColour = isColour || picture.channels == 3
        }
        let channels = isColour ? 3 : 1
        if sizes.count == 1, let size = sizes.first, size[0] * size[1] <= 128 * 128 {
            return ([channels] + size, "as they are")
        }
        return ([channels, 32, 32], "they are large or of several sizes; the shape of the model's input says another")
    }

    private static func read(_ path: String) throws(DeMLError) -> PictureFile {
        try DatasetSource.attempt(path) { (path) throws(DeMLError) in
            try PictureFile(try Files.read(path, maximumBytes: PictureFile.maximumBytes))
        }
    }

    private static func part(
        _ entries: [Entry], _ shape: [Int], _ options: DatasetOptions
    ) throws(DeMLError) -> DatasetSource.Part {
        let size = shape.reduce(1, *)
        guard entries.count <= options.maximumBytes / max(size, 1) else {
            throw DeMLError(
                .tooLarge, "\(entries.count) pictures of \(shape) need more than \(options.maximumBytes) bytes")
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(entries.count * size)
        for entry in entries { bytes += try read(entry.path).scaled(to: shape) }
        let labels = entries.compactMap(\.label)
        return .arrays(
            x: .numbers(Tensor(shape: [entries.count] + shape, bytes: bytes)),
            y: labels.count == entries.count ? .texts(labels, shape: [labels.count]) : nil)
    }
}
