import Tensors

/// Which numbers in a file stand for which class ids.
struct ClassNumbering: Equatable {
    /// Names of the classes in the order of their ids.
    var names: [String]
    /// Nil where a number is the id itself.
    private var ids: [Double: Int]?
    /// The labels are numbers that are no ids: -1 and 1, or 1 to 26.
    var isRenumbered: Bool { ids != nil }

    /// The numbering of a training set.
    /// - Parameters:
    ///   - outputs: of the model, where it is known: then all labels below that are ids.
    ///   - named: names of the ids, where the file has them.
    init(of values: Set<Double>, outputs: Int?, named: [String]? = nil) throws(DeMLError) {
        if let odd = values.filter({ $0 != $0.rounded() || abs($0) >= 1e15 }).min() {
            throw DeMLError(
                .malformed, "the labels hold \(NumberText.name(of: odd)), which is no class",
                hint: "cross_entropy learns classes; loss: mse learns numbers")
        }
        guard let lowest = values.min(), let highest = values.max() else {
            throw DeMLError(.missing, "there are no labels")
        }
        let limit = Double(Dataset.maximumClasses)
        if let named, lowest >= 0, highest < Double(named.count) {
            names = named
        } else if lowest >= 0, let outputs, highest < Double(outputs), highest < limit {
            names = (0...Int(highest)).map(String.init)
        } else if lowest == 0, highest < limit, Double(values.count) * 2 >= highest + 1 {
            names = (0...Int(highest)).map(String.init)
        } else {
            guard values.count <= Dataset.maximumClasses else {
                throw DeMLError(
                    .outOfRange, "the labels have \(values.count) different values, too many for classes",
                    hint: "name another label column, or give the model loss: mse to predict numbers")
            }
            let sorted = values.sorted()
            names = sorted.map(NumberText.name)
            ids = Dictionary(zip(sorted, 0...)) { first, _ in first }
        }
    }

    /// The numbering that a schema says.
    init(names: [String]) {
        self.names = names
        if names.enumerated().allSatisfy({ $0.element == String($0.offset) }) { return }
        let numbers = names.map { NumberText.number($0) }
        // Names that are no numbers (MNIST's digits called "zero") stand for ids.
        if numbers.allSatisfy({ $0 != nil }) {
            ids = Dictionary(zip(numbers.map { $0 ?? 0 }, 0...)) { first, _ in first }
        }
    }

    /// Nil for a number that is no class.
    func id(of value: Double) -> Int? {
        if let ids { return ids[value] }
        guard let id = Int(exactly: value), names.indices.contains(id) else { return nil }
        return id
    }
}
