extension ModelDescription {
    /// Numbers that the layers write for one example: with ``multiplyAdds`` what an estimate of time needs.
    public var activationsPerExample: Double { resolved.reduce(0) { $0 + $1.activations } }

    /// Numbers that the largest layer reads and writes for one example.
    var largestLayer: Double { resolved.map(\.largest).max() ?? 1 }
}

extension ResolvedLayer {
    fileprivate var largest: Double {
        branches.reduce((input + output).isEmpty ? 1 : Self.count(input) + Self.count(output)) {
            max($0, $1.map(\.largest).max() ?? 0)
        }
    }

    private static func count(_ shape: [Int]) -> Double { shape.reduce(1) { $0 * Double($1) } }

    fileprivate var activations: Double {
        branches.reduce(output.reduce(1) { $0 * Double($1) }) { $0 + $1.reduce(0) { $0 + $1.activations } }
    }
}
