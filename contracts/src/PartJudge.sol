// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IJudge} from "./interfaces/IJudge.sol";
import {IPartJudge} from "./interfaces/IPartJudge.sol";
import {Contraction} from "./leaf/Contraction.sol";
import {Enclosures} from "./leaf/Enclosures.sol";
import {Reduction} from "./leaf/Reduction.sol";
import {Softmax} from "./leaf/Softmax.sol";
import {Elements} from "./libraries/Elements.sol";
import {Parts} from "./libraries/Parts.sol";
import {Rules} from "./libraries/Rules.sol";
import {Sums, SumsMath} from "./libraries/Sums.sol";
import {Witness} from "./libraries/Witness.sol";
import {Operator} from "./types/Operator.sol";

/// @title The judge of long operators, by parts
/// @notice Mirrors `crates/protocol/src/parts/sums.rs`. The words of a code's sums are those of `SumsMath.words`, `Softmax.sums`,
/// `Normalize.sums`, or one word of counts.
contract PartJudge is IPartJudge {
    /// @notice Where the bounded, softmax and normalize families are.
    Enclosures public immutable enclosures;

    constructor() {
        enclosures = new Enclosures();
    }

    /// @inheritdoc IPartJudge
    function judgeTotals(
        IJudge.Context calldata context,
        bytes calldata witness,
        uint256 free,
        uint256[] calldata totals
    ) external view override returns (IJudge.Outcome memory outcome, uint256[3] memory header) {
        Witness.Opened memory w = Witness.open(context, witness, outcome, Witness.BY_TOTALS);
        if (w.stop == 0) {
            header = [free, w.y, Witness.own(w)];
            (bool known, bool inside) = _totals(w, context.profile, header, totals);
            if (known) {
                outcome.verdict = inside ? IJudge.Verdict.Inside : IJudge.Verdict.Outside;
                return (outcome, header);
            }
            w.stop = Witness.TOTALS;
            header = [uint256(0), 0, 0];
        }
        _stop(outcome, w.stop);
    }

    /// @inheritdoc IPartJudge
    function judgePart(
        IJudge.Context calldata context,
        bytes calldata witness,
        uint32 leaf,
        uint256[3] calldata header,
        uint256[] calldata sums
    ) external view override returns (IJudge.Outcome memory outcome) {
        Witness.Opened memory w = Witness.open(context, witness, outcome, leaf);
        if (w.stop == 0 && !_isHeader(w.o, header)) w.stop = Witness.TOTALS;
        if (w.stop != 0) {
            _stop(outcome, w.stop);
            return outcome;
        }
        bool same = keccak256(abi.encodePacked(_sums(w, context.profile, header))) == keccak256(abi.encodePacked(sums));
        outcome.verdict = same ? IJudge.Verdict.Inside : IJudge.Verdict.Outside;
    }

    function _stop(IJudge.Outcome memory outcome, uint256 stop) private pure {
        if (stop == Witness.UNDECODABLE) outcome.verdict = IJudge.Verdict.Undecodable;
        else outcome.reason = uint8(stop);
    }

    /// @dev Whether the free word is one that a worker may choose, and the others are some element's bits.
    function _isHeader(Operator memory o, uint256[3] memory header) private pure returns (bool) {
        uint256 free = header[0];
        if (header[1] >> 64 != 0 || header[2] >> 64 != 0) return false;
        if (o.code == Rules.SOFTMAX) return Softmax.admits(free);
        return o.code == Rules.LAYER_NORM ? free >= 1 && free <= 254 : free == 0;
    }

    /// @dev The sums of the leaf's terms.
    function _sums(Witness.Opened memory w, uint256 profile, uint256[3] memory header)
        private
        view
        returns (uint256[] memory words)
    {
        Operator memory o = w.o;
        (uint256 from, uint256 to) = Witness.terms(w);
        if (o.code == Rules.CONTRACT) {
            Sums memory products = SumsMath.begin(profile);
            uint256 counted = Contraction.products(o, products, w.index, w.bases, from, to);
            return SumsMath.words(products, counted);
        }
        uint256[] memory row = Reduction.terms(o, w.index, w.bases[0], from, to);
        if (o.code == Rules.SUM || o.code == Rules.MEAN) {
            Sums memory sums = SumsMath.empty();
            SumsMath.values(sums, row);
            return SumsMath.words(sums, row.length);
        }
        if (o.code == Rules.SOFTMAX || o.code == Rules.LAYER_NORM) {
            return enclosures.sums(o.code, profile, o.terms, header[0], row);
        }
        words = new uint256[](1);
        words[0] = o.code == Rules.MAX_POOL
            ? Reduction.maximumCounts(row, uint32(header[1]))
            : Reduction.argCounts(o.operands[0].dtype, row, from, Elements.integer(o.dtype, header[1]), header[2]);
    }

    /// @dev Holds the element against its envelope by its totals; not `known` where no terms have them.
    function _totals(Witness.Opened memory w, uint256 profile, uint256[3] memory header, uint256[] memory words)
        private
        view
        returns (bool known, bool inside)
    {
        Operator memory o = w.o;
        if (!_isHeader(o, header)) return (false, false);
        if (o.code == Rules.MAX_POOL || o.code == Rules.ARG_MAX) {
            bool maximum = o.code == Rules.MAX_POOL;
            if (words.length != 1 || !Parts.fits(words[0], maximum ? 4 : 2, o.terms)) return (false, false);
            return (true, maximum ? Reduction.checkMaximum(words[0], w.y) : _argMaximum(w, words[0], header[2]));
        }
        if (o.code == Rules.SOFTMAX || o.code == Rules.LAYER_NORM) {
            uint256 epsilon = o.code == Rules.SOFTMAX ? 0 : o.params[0];
            uint256[2] memory freeAndOwn = [header[0], header[2]];
            return enclosures.totals(o.code, profile, o.terms, freeAndOwn, Witness.once(w, 1), epsilon, words, w.y);
        }
        Sums memory sums = o.code == Rules.CONTRACT ? SumsMath.begin(profile) : SumsMath.empty();
        uint256 counted;
        (known, counted) = SumsMath.fromWords(sums, words, o.terms);
        if (known) inside = _sum(w, profile, sums, counted);
    }

    function _sum(Witness.Opened memory w, uint256 profile, Sums memory sums, uint256 counted)
        private
        pure
        returns (bool)
    {
        Operator memory o = w.o;
        if (o.code == Rules.CONTRACT) {
            uint256 values = Contraction.addends(o, sums, w.index, w.bases);
            return SumsMath.checkContraction(sums, profile, o.terms, counted, values, w.y);
        }
        if (o.code == Rules.SUM) return SumsMath.checkSum(sums, profile, o.terms, counted, w.y);
        uint256 divisor = o.params[0] == 0 ? counted : o.terms;
        return SumsMath.checkMean(sums, profile, o.terms, counted, divisor, w.y);
    }

    /// @dev The rule of `Reduction.argMaximum`: a NaN, or nothing before it that is not less and nothing after it that is greater.
    function _argMaximum(Witness.Opened memory w, uint256 counts, uint256 own) private pure returns (bool) {
        (bool some,) = Parts.ownPlace(w.o, w.index, w.y);
        return some && (counts == 0 || Reduction.isNan(w.o.operands[0].dtype, own));
    }
}
