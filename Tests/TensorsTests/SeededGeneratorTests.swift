import Tensors
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

@Suite struct SeededGeneratorTests {
    /// The known answers of the authors' Random123 library (kat_vectors, philox4x32 10).
    @Test func knownAnswers() {
        #expect(Philox.block(key: 0, counter: .zero) == SIMD4(0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8))
        #expect(
            Philox.block(key: .max, counter: SIMD4(repeating: .max))
                == SIMD4(0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd))
        #expect(
            Philox.block(key: 0x299f_31d0_a409_3822, counter: SIMD4(0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344))
                == SIMD4(0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1))
    }

    /// A stream is its blocks one after the other; the same everywhere and for ever, because runs are resumed.
    @Test func streamIsFixed() {
        var generator = SeededGenerator(seed: 7, purpose: "test", 1, 2, 3)
        let key = Philox.key(seed: 7, purpose: "test")
        for block in 0..<3 as Range<UInt32> {
            let words = Philox.block(key: key, counter: SIMD4(block, 1, 2, 3))
            for word in 0..<4 { #expect(generator.nextWord() == words[word]) }
        }
        var numbers = SeededGenerator(seed: 7, purpose: "test", 1, 2, 3)
        let first = Philox.block(key: key, counter: SIMD4(0, 1, 2, 3))
        #expect(numbers.next() == UInt64(first[0]) | UInt64(first[1]) << 32)
        #expect(Philox.key(seed: 7, purpose: "test") != Philox.key(seed: 7, purpose: "tesu"))
        #expect(Philox.key(seed: 7, purpose: "test") != Philox.key(seed: 8, purpose: "test"))
    }

    @Test func integersAreUniform() {
        var generator = SeededGenerator(seed: 1, purpose: "uniform")
        for bound in [1, 2, 3, 7, 10, 1 << 40] {
            var counts: [Int: Int] = [:]
            for _ in 0..<1000 {
                let value = generator.uniform(below: bound)
                #expect(value >= 0 && value < bound)
                counts[value, default: 0] += 1
            }
            if bound <= 10 {
                let expected = 1000.0 / Double(bound)
                // Five standard deviations of a binomial count.
                let tolerance = 5 * (expected * (1 - 1 / Double(bound))).squareRoot()
                for value in 0..<bound {
                    #expect(abs(Double(counts[value] ?? 0) - expected) <= tolerance, "\(value) of \(bound)")
                }
            }
        }
    }

    @Test func momentsOfTheDistributions() {
        var generator = SeededGenerator(seed: 2, purpose: "moments")
        let count = 40_000
        func mean(_ draw: () -> Double) -> (Double, Double) {
            let values = (0..<count).map { _ in draw() }
            let mean = values.reduce(0, +) / Double(count)
            return (mean, values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(count))
        }
        // Tolerances are five standard errors of the mean, and generous for the variance.
        let uniform = mean { generator.uniform() }
        #expect(abs(uniform.0 - 0.5) < 0.0075 && abs(uniform.1 - 1.0 / 12) < 0.003)
        let normal = mean { generator.normal() }
        #expect(abs(normal.0) < 0.025 && abs(normal.1 - 1) < 0.05)
        for shape in [0.3, 1, 4.5] {
            let gamma = mean { PortableMath.exp(generator.logGamma(shape: shape)) }
            #expect(abs(gamma.0 - shape) < 5 * (shape / Double(count)).squareRoot(), "mean of gamma(\(shape))")
            #expect(abs(gamma.1 - shape) < 0.15 * shape + 0.03, "variance of gamma(\(shape))")
        }
    }

    @Test func dirichletSumsToOneHoweverSmallAlphaIs() {
        var generator = SeededGenerator(seed: 3, purpose: "dirichlet")
        for alpha in [0.001, 0.01, 0.3, 1, 100, 1e6] {
            for count in [1, 2, 10, 1000] {
                let weights = generator.dirichlet(alpha: alpha, count: count)
                #expect(weights.count == count && weights.allSatisfy { $0 >= 0 && $0 <= 1 }, "alpha \(alpha)")
                #expect(abs(weights.reduce(0, +) - 1) < 1e-9, "alpha \(alpha), \(count)")
            }
        }
    }

    @Test func shufflesArePermutations() {
        for count in 0..<50 {
            var generator = SeededGenerator(seed: UInt64(count), purpose: "shuffle")
            #expect(generator.permutation(count).sorted() == Array(0..<count))
        }
    }

    /// Against the system's functions, which are exact to less than one unit in the last place.
    @Test func portableMathIsExactToAnUlp() {
        var generator = SeededGenerator(seed: 4, purpose: "math")
        for _ in 0..<20_000 {
            let x = (generator.uniform() - 0.5) * 1400
            let ours = PortableMath.exp(x)
            #expect(abs(ours - exp(x)) <= ours.ulp, "exp(\(x))")
            let y = exp((generator.uniform() - 0.5) * 1400)
            #expect(abs(PortableMath.log(y) - log(y)) <= log(y).ulp, "log(\(y))")
            let z = 0.5 + generator.uniform()
            #expect(abs(PortableMath.log(z) - log(z)) <= log(z).magnitude.ulp, "log(\(z))")
        }
        #expect(PortableMath.log(0) == -.infinity && PortableMath.log(-1).isNaN && PortableMath.log(1) == 0)
        #expect(PortableMath.exp(0) == 1 && PortableMath.exp(1000) == .infinity && PortableMath.exp(-1000) == 0)
    }
}
