-- Disputes about long operators: whose turn it is to give totals, to name a part, to split it, to prove it.
alter table disputes drop constraint disputes_phase_check;
alter table disputes add constraint disputes_phase_check check (phase in
    ('choosing', 'revealing', 'picking', 'layering', 'defending', 'totalling', 'parting', 'splitting', 'proving',
     'struck', 'lost', 'conceded', 'voided', 'moot', 'settled', 'orphaned'));
